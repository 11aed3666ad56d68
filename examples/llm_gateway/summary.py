"""What the demo shows at the end: revenue and margin by feature, an invoice explained, a quote verified and refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from api.cli.main import main as alacarte
from api.settings import DEMO_HOME, Settings
from billing.database import Database
from billing.invoices import Invoice
from billing.repositories.invoices import InvoiceRepository
from examples.llm_gateway.world import MONTHS

console = Console()

Sums = dict[str, tuple[Decimal, Decimal]]
"""Revenue and cost by feature, exact, in major units."""


def print_summary(settings: Settings, quotes: dict[str, str]) -> None:
    """Print it all, and leave the plot and the quote's documents in out/demo."""
    database = Database(settings.database_url)
    with database.reading(settings.tenant) as uow:
        repository = InvoiceRepository(uow)
        by_month = {month: repository.many(repository.of_period(f"{month:%Y-%m}")) for month in MONTHS}
    database.close()
    sums = {month: _by_feature(invoices) for month, invoices in by_month.items()}
    console.print(_revenue_table(sums))
    plot_revenue(sums, DEMO_HOME / "revenue.png")
    shown = max(by_month[MONTHS[0]], key=lambda invoice: invoice.total_minor)
    _explain(shown)
    _verify(quotes[shown.customer])
    _next_steps(by_month)


def _by_feature(invoices: Sequence[Invoice]) -> Sums:
    sums: Sums = {}
    for invoice in invoices:
        for line in invoice.lines:
            revenue, cost = sums.get(line.feature, (Decimal(0), Decimal(0)))
            sums[line.feature] = revenue + line.exact, cost + line.cost
    return dict(sorted(sums.items(), key=lambda item: -item[1][0]))


def _revenue_table(by_month: dict[datetime, Sums]) -> Table:
    table = Table(title="Revenue and margin by feature, USD")
    table.add_column("feature")
    for month in by_month:
        table.add_column(f"{month:%Y-%m}", justify="right")
        table.add_column("margin", justify="right")
    features = list(dict.fromkeys(feature for sums in by_month.values() for feature in sums))
    for feature in [*features, ""]:
        cells: list[str] = []
        for sums in by_month.values():
            chosen = sums.values() if not feature else [sums.get(feature, (Decimal(0), Decimal(0)))]
            revenue, cost = (sum((one[i] for one in chosen), Decimal(0)) for i in (0, 1))
            cells += [f"{revenue:,.2f}", f"{(revenue - cost) / revenue:.0%}" if revenue else ""]
        table.add_row(feature or "all", *cells, end_section=feature == features[-1], style="" if feature else "bold")
    return table


def plot_revenue(by_month: dict[datetime, Sums], path: Path) -> None:
    """Draw revenue by feature and month, split into cost and margin."""
    mpl.use("Agg")
    from matplotlib import pyplot

    features = list(dict.fromkeys(feature for sums in by_month.values() for feature in sums))[::-1]
    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    height = 0.8 / len(by_month)
    shades = (("#9aa5b1", "#1f6feb"), ("#c3cad2", "#79b0ff"))
    for number, (month, sums) in enumerate(by_month.items()):
        places = [row + 0.4 - (number + 0.5) * height for row in range(len(features))]
        cost = [float(sums.get(feature, (0, 0))[1]) for feature in features]
        margin = [float(sums.get(feature, (0, 0))[0]) - below for feature, below in zip(features, cost, strict=True)]
        grey, blue = shades[number % len(shades)]
        axes.barh(places, cost, height, color=grey, label=f"cost {month:%b %Y}")
        axes.barh(places, margin, height, left=cost, color=blue, label=f"margin {month:%b %Y}")
    axes.set_yticks(range(len(features)), [feature.replace("_", " ") for feature in features])
    axes.set_xlabel("USD a month")
    axes.set_title("What each feature earns")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _explain(invoice: Invoice) -> None:
    metered = next(line for line in invoice.lines if line.sources and not line.in_advance)
    console.print(f"\n[bold]Invoice {invoice.number}, line {metered.line}, back to its events[/]")
    _run("explain", str(invoice.number), "--line", str(metered.line))


def _verify(quote_id: str) -> None:
    folder = DEMO_HOME / "quote"
    console.print("\n[bold]The quote it started with, recomputed offline by its buyer[/]")
    _run("quote", "export", quote_id, str(folder))
    files = ("--price-book", "book.json", "--price-sheet", "sheet.json", "--key", "public.pem")
    rest = [part if part.startswith("--") else str(folder / part) for part in files]
    _run("verify", str(folder / "quote.json"), *rest)
    document = json.loads((folder / "quote.json").read_text())
    path, section = next(
        (path, section)
        for path, section in document["sections"].items()
        if path.startswith("lines/") and "content" in section
    )
    amount = section["content"]["amount"]
    section["content"]["amount"] = ("2" if amount[0] == "1" else "1") + amount[1:]
    (folder / "forged.json").write_text(json.dumps(document))
    console.print(f"\n[bold]The same with one digit of {path} changed[/]")
    _run("verify", str(folder / "forged.json"), *rest)


def _run(*arguments: str) -> None:
    console.print(f"[dim]$ alacarte {' '.join(arguments)}[/]", highlight=False, soft_wrap=True)
    alacarte(arguments)


def _next_steps(by_month: dict[datetime, list[Invoice]]) -> None:
    count = sum(len(invoices) for invoices in by_month.values())
    console.print(
        f"\n{count} invoices. Look at {DEMO_HOME}/revenue.png, {DEMO_HOME}/invoices/*.pdf and {DEMO_HOME}/*/*.csv.\n"
        "Next: [bold]make serve[/] serves the API on this database; "
        "[bold].venv/bin/alacarte[/] works on it too, e.g. [bold]alacarte ledger verify[/]."
    )
