"""The security walk-through names tests; a test that is renamed or gone must not leave its promise behind."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_named_test_exists() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    named = NAMED.findall(text)
    assert set(re.findall(r"^## (API\d+) ", text, re.MULTILINE)) == {f"API{number}" for number in range(1, 11)}
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert all(NAMED.search(section) for section in sections)
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text(), (path, test)
