"""A reconciliation for people: as CSV and as a page of HTML that needs nothing else."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO

from jinja2 import Environment, PackageLoader, StrictUndefined

from billing.stripe.reconciliation import Difference, Finding, Reconciliation, Repair
from models.values.money import currency, from_minor

_COLUMNS = ("difference", "repair", "number", "invoice_id", "stripe_id", "currency", "ours", "theirs")

_HEADINGS = ("Difference", "Repair", "Invoice", "Our id", "Stripe's id", "Currency", "Ours", "Stripe")
_MEANINGS = {
    Difference.MISSING: "handed over by us, not at Stripe",
    Difference.EXTRA: "at Stripe under our reference, not handed over by us",
    Difference.AMOUNT: "another total there than here",
    Difference.STATUS: "another state, or another sum paid",
    Difference.STALE_DRAFT: "a draft that nobody finished for two hours",
    Difference.EVENT_GAP: "a notification that never reached us",
}
_REPAIRS = {
    Repair.CREATE: "make it again",
    Repair.REMOVE: "void or delete it there",
    Repair.REPLACE: "void it there, make it again",
    Repair.READ: "read it again",
    Repair.VOID: "void it there",
    Repair.GO_ON: "finish it",
    Repair.FETCH: "fetch it",
    Repair.PERSON: "a person decides",
}


def csv_of(found: Reconciliation) -> str:
    """Return one line a difference; a cell that a spreadsheet would take for a formula is quoted as text."""
    out = StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for finding in found.findings:
        writer.writerow([_as_text(cell) for cell in _cells(finding)])
    return out.getvalue()


def html_of(found: Reconciliation) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("billing.stripe", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["words"] = _words
    sums = [
        (code, *(_shown(amount, code) for amount in (each.ours, each.theirs, each.ours_paid, each.theirs_paid)))
        for code, each in found.totals.items()
    ]
    counts = found.counts()
    return environment.get_template("reconciliation.html").render(
        found=found,
        headings=_HEADINGS,
        rows=[_cells(finding) for finding in found.findings],
        repairs={repair.value: text for repair, text in _REPAIRS.items()},
        counts=[(_words(kind), text, counts[kind]) for kind, text in _MEANINGS.items()],
        totals=sums,
    )


def lines_of(found: Reconciliation) -> Iterator[str]:
    """Return the lines that the command prints."""
    yield f"compared {found.compared} invoices since {found.since.date()}"
    for code, each in found.totals.items():
        money = currency(code)
        yield (
            f"{code} ours {from_minor(each.ours, money)} theirs {from_minor(each.theirs, money)}"
            f" paid {from_minor(each.ours_paid, money)} theirs {from_minor(each.theirs_paid, money)}"
        )
    counts = found.counts()
    yield " ".join(f"{kind} {counts[kind]}" for kind in Difference)


def _cells(finding: Finding) -> tuple[str, ...]:
    return tuple(str(getattr(finding, column)) for column in _COLUMNS)


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell


def _shown(amount_minor: int, code: str) -> str:
    return f"{from_minor(amount_minor, currency(code)):,f}"


def _words(name: str) -> str:
    return name.replace("_", " ")
