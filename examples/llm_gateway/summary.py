"""What the demo shows at the end: revenue and margin by feature, an invoice explained, a quote verified and refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from api.cli.main import main as alacarte
from api.settings import DEMO_HOME, Settings
from billing.database import Database
from billing.feature_sales import FeatureSales, feature_sales, total_sales
from billing.invoices import Invoice
from billing.repositories.invoices import InvoiceRepository
from billing.unit_of_work import UnitOfWork
from examples.llm_gateway.world import MONTHS

console = Console()
CURRENCY = "USD"

Sums = dict[str, FeatureSales]
"""What each feature sold in a month: as invoiced before tax, so as the console says it."""


def print_summary(settings: Settings, quotes: dict[str, str]) -> None:
    """Print it all, and leave the plot and the quote's documents in out/demo."""
    database = Database(settings.database_url)
    with database.reading(settings.tenant) as uow:
        repository = InvoiceRepository(uow)
        by_month = {month: repository.many(repository.of_period(f"{month:%Y-%m}")) for month in MONTHS}
        sums = {month: by_feature(uow, month) for month in MONTHS}
    database.close()
    console.print(revenue_table(sums))
    plot_revenue(sums, DEMO_HOME / "revenue.png")
    shown = max(by_month[MONTHS[0]], key=lambda invoice: invoice.total_minor)
    _explain(shown)
    _verify(quotes[shown.customer])
    _next_steps(by_month)


def by_feature(uow: UnitOfWork, month: datetime) -> Sums:
    """Return what each feature sold in a month, the one that earned most first."""
    sales, _ = feature_sales(uow, f"{month:%Y-%m}", CURRENCY)
    return dict(sorted(sales.items(), key=lambda item: -item[1].revenue))


def revenue_table(by_month: dict[datetime, Sums]) -> Table:
    """Show revenue and margin by feature and month, their sums, and what rounding left for the next invoices."""
    table = Table(
        title=f"Revenue and margin by feature, {CURRENCY}",
        caption="As invoiced before tax, each invoice rounded once. Metered exactly = all + what is carried on.",
    )
    table.add_column("feature")
    for month in by_month:
        table.add_column(f"{month:%Y-%m}", justify="right")
        table.add_column("margin", justify="right")
    features = list(dict.fromkeys(feature for sums in by_month.values() for feature in sums))
    totals = [total_sales(sums.values()) for sums in by_month.values()]
    for feature in features:
        sold = [sums.get(feature, FeatureSales()) for sums in by_month.values()]
        table.add_row(feature, *_cells(sold), end_section=feature == features[-1])
    table.add_row("all", *_cells(totals), style="bold")
    table.add_row("below a cent, carried on", *(text for each in totals for text in (f"{each.carried:,.4f}", "")))
    return table


def _cells(sold: Sequence[FeatureSales]) -> list[str]:
    return [
        text
        for each in sold
        for text in (f"{each.revenue:,.2f}", f"{each.margin / each.revenue:.0%}" if each.revenue else "")
    ]


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
        sold = [sums.get(feature, FeatureSales()) for feature in features]
        cost, margin = [float(each.cost) for each in sold], [float(each.margin) for each in sold]
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
