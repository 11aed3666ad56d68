"""Both languages say everything, and every text a template asks for exists."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from api.console.pages import HOME
from api.console.wording import LANGUAGES, best_language, catalog
from api.problem_codes import problem_codes

ASKED = re.compile(r"""\bt\("([a-z_0-9.]+)"\s*[,)]""")
GROUPS = re.compile(r"""\bt\.of\("([a-z_]+)",""")


def test_every_language_has_the_same_keys_and_placeholders() -> None:
    english = catalog("en")
    for language in LANGUAGES:
        texts = catalog(language)
        assert texts.keys() == english.keys(), language
        for key, text in texts.items():
            assert text.strip(), (language, key)
            assert _names(text) == _names(english[key]), (language, key)


def test_templates_ask_for_what_exists_and_nothing_lies_unused() -> None:
    pages = "".join(path.read_text() for path in sorted((HOME / "templates").glob("*.html")))
    asked, groups = set(ASKED.findall(pages)), set(GROUPS.findall(pages)) | {"theme"}
    assert asked <= catalog("en").keys()
    unused = [key for key in catalog("en") if key not in asked and key.partition(".")[0] not in groups]
    assert unused == []


def test_refusals_are_worded_by_codes_that_there_are() -> None:
    worded = {key.removeprefix("refusal.") for key in catalog("en") if key.startswith("refusal.")}
    assert worded - problem_codes().keys() == {"stale_form"}  # A form is the console's alone.


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        (None, "fr, en;q=0.5", "en"),
        (None, "", "en"),
        ("ko", "en", "ko"),
        ("xx", "ko", "ko"),
    ],
)
def test_the_language_is_what_was_chosen_or_what_the_browser_prefers(
    chosen: str | None, accepted: str, language: str
) -> None:
    assert best_language(chosen, accepted) == language


def _names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}
