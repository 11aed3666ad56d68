"""The integration guide does what it says: its commands and programs run, in order, from an empty database on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from tests.integration.client.conftest import serving

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "api.md").read_text()


def blocks(name: str) -> list[str]:
    return re.findall(rf"^```{name}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def block(name: str) -> str:
    [found] = blocks(name)
    return found


def run(command: list[str], home: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_step_of_the_guide(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "llm_gateway" / "catalog.yaml", tmp_path)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ALACARTE_DATABASE_URL": f"sqlite:///{tmp_path / 'alacarte.db'}",
        "ALACARTE_SIGNING_KEY": str(tmp_path / "key.pem"),
    }
    run(["bash", "-euo", "pipefail", "-c", block("setup")], tmp_path, environment)
    with serving(environment) as address:
        environment |= {"ALACARTE": address, "KEY": (tmp_path / "key.txt").read_text().strip()}
        said = run(["bash", "-euo", "pipefail", "-c", block("bash")], tmp_path, environment)
        assert '"left":"3"' in said
        assert '"used":"250000","included":"1000000","left":"750000"' in said
        printed = run([sys.executable, "-c", block("python")], tmp_path, environment)
        assert "below_minimum" in printed
        run([sys.executable, "-c", block("flags")], tmp_path, environment)
        _hold_what_the_guide_says(environment)


def _hold_what_the_guide_says(environment: dict[str, str]) -> None:
    """The guide's JSON is of the customer that its commands have sold to."""
    headers = {"Authorization": f"Bearer {environment['KEY']}", "Idempotency-Key": "hold"}
    sent = {**json.loads(blocks("json")[0]), "prepaid": False}
    answer = httpx.post(f"{environment['ALACARTE']}/v1/usage-holds", json=sent, headers=headers)
    assert answer.status_code == 201, answer.text


def test_the_client_needs_no_part_of_the_server() -> None:
    script = "import sys, api.client.http, api.client.calls\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    heavy = {"sqlalchemy", "litestar", "polars", "numpy", "billing", "pricing_engine", "models", "openfeature"}
    assert not {name.partition(".")[0] for name in loaded} & heavy
