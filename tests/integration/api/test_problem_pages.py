"""Where the `type` of a problem leads, and which codes clients may rely on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.problem_codes import problem_codes
from billing.quotes import QuoteExpiredError
from docs.problem_codes import found_codes
from tests.integration.api.door import Door, open_door

GUIDE = Path(__file__).parents[3] / "docs" / "api.md"


@pytest.fixture
def open_pages(sqlite_template: Path, tmp_path: Path) -> Iterator[Door]:
    shutil.copy(sqlite_template, tmp_path / "alacarte.db")
    yield from open_door(f"sqlite:///{tmp_path / 'alacarte.db'}", tmp_path)


def test_the_type_of_a_problem_is_a_page_that_says_what_to_do(open_pages: Door) -> None:
    empty = {"customer": "acme-default", "selection": {}}
    for answer, said in (
        (open_pages.call("GET", "/v1/customers", token=""), "Authorization: Bearer"),
        (open_pages.call("GET", "/v1/customers/nobody"), "another tenant"),
        (open_pages.call("POST", "/v1/quotes/preview", empty), "needs at least one feature"),
        (open_pages.call("POST", "/v1/quotes/preview", raw=b"{"), "The reference has an example".lower()),
        (open_pages.call("GET", "/nowhere"), "no such address"),
    ):
        told = answer.json()
        page = open_pages.call("GET", told["type"], token="")
        assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
        assert f"<h1>{told['title']}</h1>" in page.text
        assert f"<code>{told['code']}</code>" in page.text
        assert said in page.text, (told["code"], page.text)
        assert "http" not in page.text
    every = open_pages.call("GET", "/problems", token="").text
    assert all(f'href="/problems/{code}"' in every for code in problem_codes())
    assert open_pages.call("GET", "/problems/nothing_like_it", token="").status_code == 404


def test_every_code_says_what_it_means_and_what_to_do() -> None:
    known = problem_codes()
    assert [*known.values()] == found_codes(), "run `make problem-codes`"
    assert all(each.meaning and each.remedy for each in known.values())
    assert known[QuoteExpiredError.code].meaning == QuoteExpiredError.__doc__
    assert known["empty_selection"].rules == ("needs at least one feature",)


def test_the_codes_that_the_guide_promises_exist() -> None:
    """A code of the guide is never taken away: clients decide by it."""
    _, _, section = GUIDE.read_text().partition("## Problems")
    promised = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert len(promised) >= 30
    assert set(promised) <= set(problem_codes())
