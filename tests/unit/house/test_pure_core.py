"""The core stays pure even through what its imports drag in: checked in a fresh process."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = (
    "sqlalchemy",
    "sqlmodel",
    "litestar",
    "stripe",
    "httpx",
    "alembic",
    "psycopg",
    "models.tables",
    "billing",
    "api",
)
FORBIDDEN = {"sqlmodel", "sqlalchemy", "litestar", "stripe", "httpx", "socket", "os", "pathlib"}


def _modules(package: str) -> list[str]:
    files = (ROOT / package).rglob("*.py")
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if path.name != "__init__.py"
    )


@pytest.mark.parametrize("package", ["pricing_engine", "models/values"])
def test_importing_the_whole_core_loads_no_shell(package: str) -> None:
    names = _modules(package)
    assert names
    script = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert [name for name in loaded if name in HEAVY or name.startswith(tuple(f"{heavy}." for heavy in HEAVY))] == []


@pytest.mark.parametrize("package", ["pricing_engine", "models/values"])
def test_the_core_names_no_forbidden_module(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {name.split(".")[0] for name in names} & FORBIDDEN, path


def test_package_inits_are_empty() -> None:
    for package in ("pricing_engine", "billing", "api", "models"):
        for path in (ROOT / package).rglob("__init__.py"):
            assert path.read_text() == "", path


def test_the_cli_starts_without_the_heavy_parts() -> None:
    """Rating from the shell must not wait for scikit-learn or the web framework."""
    script = "import sys, api.cli.main as main\nmain.build_parser()\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not {"sklearn", "litestar", "matplotlib", "typst"} & set(loaded)
