"""Both languages say everything, and every text a template asks for exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

from api.console.pages import HOME
from api.console.wording import LANGUAGES, Words, best_language, catalog
from api.problem_codes import problem_codes
from docs.problem_codes import ROOT, codes_by_module

ASKED = re.compile(r"""\bt\("([a-z_0-9.]+)"\s*[,)]""")
GROUPS = re.compile(r"""\bt\.(?:of|said)\("([a-z_]+)",""")
NOT_SHOWN = {
    "domain_error",  # No refusal by itself.
    "unauthenticated", "api_key_ended", "expires_in_the_past", "name_required", "unknown_api_key",  # Of API keys.
    "person_exists", "unknown_person",  # Of a command.
}  # fmt: skip


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


@pytest.mark.parametrize(
    "sentence",
    [
        "no meter reads llm.image",
        "of acme at 2026-01-10T00:00:00Z",
        "none of gateway 1",
        "by gateway e7",
        "of gateway e7",
    ],
)
def test_what_became_of_an_event_is_said_in_each_language(sentence: str) -> None:
    assert Words("en").said("fate_said", sentence) == sentence
    korean = Words("ko").said("fate_said", sentence)
    assert not re.search(r"\b(no|meter|reads|of|at|none|by)\b", korean), korean


def test_refusals_are_worded_by_codes_that_there_are() -> None:
    worded = {key.removeprefix("refusal.") for key in catalog("en") if key.startswith("refusal.")}
    assert worded - problem_codes().keys() == {"stale_form", "other"}  # A form is the console's alone.


def test_every_refusal_that_the_console_can_show_is_worded() -> None:
    """Those of what its pages call, and of every rule that a catalog typed into them can break."""
    pages = {f"api.console.{path.stem}" for path in HOME.glob("*.py")}
    shown = {
        each
        for page in [*pages, "api.invoice_acts", "api.webhook_acts", "api.catalog_file"]
        for each in _imported(page)
    } | pages
    of_catalogs, waiting = {"pricing_engine.price_book"}, ["pricing_engine.price_book"]
    while waiting:
        for each in _imported(waiting.pop()) - of_catalogs:
            if each.startswith(("pricing_engine.", "models.values.")):
                of_catalogs.add(each)
                waiting.append(each)
    by_module = codes_by_module()
    codes = {code for each in shown | of_catalogs | {"billing.database"} for code in by_module.get(each, ())}
    assert len(codes) > 150
    assert sorted(code for code in codes - NOT_SHOWN if f"refusal.{code}" not in catalog("en")) == []


def test_what_the_engine_says_of_a_model_is_worded() -> None:
    """Warnings and objections are sentences: each is recognised by its English text, with what is filled in."""
    card = ROOT / "pricing_engine/demand/model_card.py"
    said = [*_sentences(card), *_sentences(card.with_name("publishing_gates.py"))]
    assert len(said) > 15
    for sentence in said:
        assert Words("en").said("warning", sentence) == sentence
        assert not Words("ko").said("warning", sentence).isascii(), sentence
    assert Words("ko").said("warning", "nobody has said this") == "nobody has said this"


def _imported(module: str) -> set[str]:
    """Return the modules of ours that a module imports from."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
            found |= {name for name in names if (ROOT / f"{name.replace('.', '/')}.py").is_file()}
    return found


def _sentences(path: Path) -> list[str]:
    """Return what a module says in more than five words, with `5` for whatever is filled in; docstrings left out."""
    tree = ast.parse(path.read_bytes())
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr | ast.FormattedValue)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise | ast.JoinedStr):
            apart |= {id(each) for each in ast.walk(node)} - {id(node)}
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
            apart.discard(id(node.value))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and id(node) not in apart:
            found.append("".join(str(each.value) if isinstance(each, ast.Constant) else "5" for each in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart:
            found.append(node.value)
    return [each for each in found if len(each.split()) > 5]


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
