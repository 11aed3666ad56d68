"""Every rating case of the peers passes, but for those that assert a fault: there ours differs, on purpose."""

from __future__ import annotations

import os

import pytest

from tests.conformance.rating.doors import Json
from tests.conformance.rating.report import CASES, DELIBERATE, DOCUMENT, check, passes, written


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_peer_case(case: Json) -> None:
    if case["id"] in DELIBERATE:
        assert not passes(case), "no longer different: take it off the list"
    else:
        check(case)


def test_every_case_is_there() -> None:
    assert len(CASES) == 615
    assert DELIBERATE.keys() <= {case["id"] for case in CASES}


def test_document_is_current() -> None:
    document = DOCUMENT.read_text()
    if os.environ.get("ALACARTE_WRITE_DOCS"):
        DOCUMENT.write_text(written(document))
    else:
        assert document == written(document), "stale: run ALACARTE_WRITE_DOCS=1 pytest tests/conformance/rating"
