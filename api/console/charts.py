"""Charts as inline SVG. Each has a table or a sentence beside it that says the same; lengths are shares of 100."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from markupsafe import Markup

_FULL = 100


def bar(parts: Sequence[tuple[str, Decimal]], largest: Decimal) -> Markup:
    """Draw amounts end to end, each in the class it comes with; `largest` fills the width. Hidden from readers."""
    x, drawn = 0.0, []
    for name, amount in parts:
        width = _share(amount, largest)
        drawn.append(Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="10"/>').format(name, x, width))
        x += width
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">{}</svg>'
    ).format(Markup("").join(drawn))


def _share(amount: Decimal, largest: Decimal) -> float:
    return float(_FULL * max(amount, Decimal(0)) / largest) if largest > 0 else 0.0
