"""Rendering: a view becomes HTML, or a PDF with its font embedded. The same view gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

_HOME = Path(__file__).resolve().parent
_TEMPLATES = _HOME / "templates"
FONTS = _HOME / "fonts"


def to_html(view: Mapping[str, Any]) -> str:
    """Return a page that needs nothing but itself."""
    return _html_template().render(view=view)


def to_pdf(view: Mapping[str, Any]) -> bytes:
    """Return an A4 document. No system font and no network is used."""
    import typst  # A compiler: commands that print nothing should not load it.

    document = typst.compile(
        str(_TEMPLATES / "invoice.typ"),
        root=str(_TEMPLATES),
        font_paths=[str(FONTS)],
        ignore_system_fonts=True,
        sys_inputs={"view": json.dumps(view, ensure_ascii=False)},
    )
    if not isinstance(document, bytes):
        raise TypeError(f"one document was expected, got {type(document)}")
    return document


@cache
def _html_template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("invoice.html")
