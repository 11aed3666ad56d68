"""Documents that people print, as answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Response

from billing.exports.rendering import to_pdf


def printed(name: str, view: Mapping[str, Any]) -> Response[bytes]:
    """Return the view of an invoice or credit note as a PDF to look at, named after it."""
    safe = "".join(char if char.isalnum() else "-" for char in name)
    headers = {"Content-Disposition": f'inline; filename="{safe}.pdf"'}
    return Response(to_pdf(view), media_type="application/pdf", headers=headers)
