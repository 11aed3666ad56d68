"""Forms that documents are read into, made ready where their module is imported."""

from __future__ import annotations

import msgspec


def build_form(form: type[msgspec.Struct]) -> None:
    """Build what msgspec needs to read a form, of its parts too. Call it beside whatever reads the form.

    Left alone msgspec builds it when the form is first read, and crashes the process where two threads do so at once.
    """
    msgspec.json.Decoder(form)
