"""Charts as inline SVG. Each has a table or a sentence beside it that says the same; nothing here is a style."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from markupsafe import Markup

from pricing_engine.demand.take_curve import TakeCurve

_FULL = 100
_WIDTH, _HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 46
_TICKS = 5
_LARGEST_DOT = 9


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


def take_chart(found: TakeCurve, today: Decimal, title: str, price_label: str) -> Markup:
    """Draw the share of buyers who take a feature over its price: dots as seen, the curve and its band where fitted.

    `today`: the price in force, marked by a dashed line. `title` is what a screen reader says.
    """
    prices = [float(each.price) for each in found.seen] + [point.price for point in found.curve] + [float(today)]
    plot = _Plot(min(prices), max(prices))
    most = max((each.quoted for each in found.seen), default=1)
    parts = [*plot.axes(price_label)]
    if found.curve:
        above = [plot.at(point.price, point.high) for point in found.curve]
        below = [plot.at(point.price, point.low) for point in reversed(found.curve)]
        parts.append(Markup('<polygon class="band" points="{}"/>').format(" ".join([*above, *below])))
        line = " ".join(plot.at(point.price, point.mode) for point in found.curve)
        parts.append(Markup('<polyline class="curve" points="{}"/>').format(line))
    x = plot.x(float(today))
    parts.append(
        Markup('<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(x, _TOP, _HEIGHT - _BOTTOM)
    )
    for each in found.seen:
        radius = 2 + (_LARGEST_DOT - 2) * (each.quoted / most) ** 0.5
        parts.append(
            Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(
                plot.x(float(each.price)), plot.y(each.taken / each.quoted), radius
            )
        )
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, title, Markup("").join(parts)
    )


class _Plot:
    """Prices from left to right, shares of one from bottom to top."""

    def __init__(self, lowest: float, highest: float) -> None:
        pad = (highest - lowest or highest or 1.0) * 0.04
        self._low, self._span = lowest - pad, highest - lowest + 2 * pad
        self._prices = (lowest, highest)

    def x(self, price: float) -> float:
        """Return where a price stands."""
        return _LEFT + (price - self._low) / self._span * (_WIDTH - _LEFT - _RIGHT)

    def y(self, share: float) -> float:
        """Return where a share stands."""
        return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)

    def at(self, price: float, share: float) -> str:
        """Return a point of a line."""
        return f"{self.x(price):.1f},{self.y(share):.1f}"

    def axes(self, label: str) -> list[Markup]:
        """Draw both axes with their figures."""
        parts = []
        for step in range(_TICKS):
            share = step / (_TICKS - 1)
            parts.append(
                Markup(
                    '<line class="axis" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
                    '<text x="{3}" y="{4:.1f}" text-anchor="end">{5:.0f} %</text>'
                ).format(_LEFT, _WIDTH - _RIGHT, self.y(share), _LEFT - 8, self.y(share) + 4, share * _FULL)
            )
        low, high = self._prices
        for step in range(_TICKS):
            price = low + (high - low) * step / (_TICKS - 1)
            parts.append(
                Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{:.4g}</text>').format(
                    self.x(price), _HEIGHT - 26, price
                )
            )
            if low == high:
                break
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(_WIDTH - _RIGHT, _HEIGHT - 4, label)
        )
        return parts


def _share(amount: Decimal, largest: Decimal) -> float:
    return float(_FULL * max(amount, Decimal(0)) / largest) if largest > 0 else 0.0
