"""Lines while they are being rated: integers of one scale, turned into decimals once at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(slots=True)
class LineDraft:
    """One component of a price. `quantity` has the scale of billable units, the amounts that of the tariff.

    `unit_amount` None: a lump sum, whose unit amount is the amount itself. `discounts` maps a kind to what it
    takes off; `charge` is what a minimum adds.
    """

    component: str
    quantity: int
    unit_amount: Decimal | None
    amount: int
    charge: int = 0
    discounts: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """What is due for this line: amount + charge - discounts."""
        return self.amount + self.charge - sum(self.discounts.values())


def _key(line: LineDraft) -> tuple[str, Decimal | int | None]:
    """Return what makes lines of two splits the same line; lump sums are the same only when equal."""
    lump = line.unit_amount is None
    return (f"{line.component} lump", line.amount) if lump else (line.component, line.unit_amount)


def merge(lines: list[LineDraft]) -> list[LineDraft]:
    """Add up lines of the same component and unit amount, in order of first appearance."""
    merged: dict[tuple[str, Decimal | None], LineDraft] = {}
    for line in lines:
        known = merged.get((line.component, line.unit_amount))
        if known is None:
            merged[line.component, line.unit_amount] = line
        else:
            known.quantity += line.quantity
            known.amount += line.amount
    return list(merged.values())


def is_shown(line: LineDraft) -> bool:
    """Return whether a line bills something, or shows what was used at a price of zero; not what rounds to zero."""
    return bool(line.amount or line.charge or any(line.discounts.values()) or line.unit_amount == 0)


def negated(lines: list[LineDraft]) -> list[LineDraft]:
    """Return the opposite of freshly priced lines."""
    return [LineDraft(line.component, -line.quantity, line.unit_amount, -line.amount) for line in lines]


def difference(now: list[LineDraft], before: list[LineDraft]) -> list[LineDraft]:
    """Return `now` minus `before`, line by line. What only `before` had follows as reversed lines."""
    earlier = {_key(line): line for line in before}
    changed = [_minus(line, earlier.pop(_key(line), None)) for line in now]
    changed += [
        LineDraft(
            line.component,
            -line.quantity,
            line.unit_amount,
            -line.amount,
            -line.charge,
            {kind: -amount for kind, amount in line.discounts.items()},
        )
        for line in earlier.values()
    ]
    return [line for line in changed if is_shown(line) and not _is_nothing(line)]


def _minus(line: LineDraft, before: LineDraft | None) -> LineDraft:
    if before is None:
        return line
    kinds = [*line.discounts, *(kind for kind in before.discounts if kind not in line.discounts)]
    return LineDraft(
        line.component,
        line.quantity - before.quantity,
        line.unit_amount,
        line.amount - before.amount,
        line.charge - before.charge,
        {kind: line.discounts.get(kind, 0) - before.discounts.get(kind, 0) for kind in kinds},
    )


def _is_nothing(line: LineDraft) -> bool:
    return not (line.quantity or line.amount or line.charge or any(line.discounts.values()))
