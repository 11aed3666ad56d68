"""The OpenAPI document against the API that it describes: Schemathesis tries every operation, alone and in sequence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from billing.api_keys import Scope
from tests.integration.api.door import Door, open_door
from tests.integration.api.fuzzing import fuzz

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


@pytest.fixture
def quick_door(sqlite_template: Path, tmp_path: Path) -> Iterator[Door]:
    """The API on SQLite: what a caller may send is the same on both databases."""
    shutil.copy(sqlite_template, tmp_path / "alacarte.db")
    yield from open_door(f"sqlite:///{tmp_path / 'alacarte.db'}", tmp_path)


def test_every_operation_keeps_what_the_document_promises(quick_door: Door) -> None:
    examples, scenarios = (150, 300) if NIGHTLY else (20, 5)
    report = fuzz(quick_door.client.app, quick_door.token(*Scope), examples=examples, scenarios=scenarios)
    assert report.errors == []
    assert report.failures == {}, "\n\n".join(f"{name}\n{text}" for name, text in report.failures.items())
    assert not [status for status in report.statuses if status >= 500 and status != 503], report.statuses
    assert not NIGHTLY or report.requests >= 10_000


def test_the_document_and_its_pages_ask_no_other_host(quick_door: Door) -> None:
    document = quick_door.call("GET", "/openapi/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    page = quick_door.call("GET", "/docs/", token="")
    assert page.status_code == 200
    assert "http" not in page.text
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "reference.js", "LICENSE"):
        assert quick_door.call("GET", f"/docs/{name}", token="").status_code == 200


def test_every_answer_names_its_members(quick_door: Door) -> None:
    """So that a client can be generated: an answer is no object of anything."""
    document = quick_door.call("GET", "/openapi/openapi.json").json()
    bare = [
        f"{method} {path} {status}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status, answer in operation["responses"].items()
        for media_type, content in answer.get("content", {}).items()
        if status < "300" and media_type == "application/json" and _is_bare(content["schema"])
    ]
    assert bare == []
    views = {
        name: schema for name, schema in document["components"]["schemas"].items() if name.endswith(("Page", "List"))
    }
    assert len(views) > 10
    assert not [name for name, schema in views.items() if _is_bare(schema["properties"]["items"]["items"])]


def _is_bare(schema: Mapping[str, Any]) -> bool:
    """Tell whether any object would do."""
    return "$ref" not in schema and not schema.get("properties") and not schema.get("additionalProperties")
