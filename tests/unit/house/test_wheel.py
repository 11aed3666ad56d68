"""What is shipped: the four packages and nothing beside them, with their templates, fonts and migrations."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_wheel_holds_the_four_packages_with_their_data(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    packages = "api,billing,models,pricing_engine"
    checker = Path(sys.executable).with_name("check-wheel-contents")
    # W002: empty __init__ files are alike, and must be. W004: alembic loads migrations by path.
    subprocess.run(
        [checker, "--ignore", "W002,W004", "--toplevel", packages, str(wheel)], check=True, capture_output=True
    )
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"models/migrations/script.py.mako", "billing/exports/fonts/OFL.txt", "pricing_engine/py.typed"} <= names
    assert {f"api/console/{name}" for name in ("templates/base.html", "static/live.js", "words/ko.json")} <= names
    assert {"api/static/docs/swagger-ui-bundle.js", "api/static/docs/LICENSE"} <= names
    assert any(name.endswith(".otf") for name in names)
