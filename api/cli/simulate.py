"""`alacarte simulate`: a closed month's ledger under a draft price book; who would pay less, and who more.

Usage is taken as it was; `--demand` adds what to expect where customers respond as the newest demand model has it. Exit
status 1 where the month, rated again at the prices in force, is not what was invoiced: then something was changed
since, and the comparison is named for what it is.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from api.catalog_file import read_catalog
from api.cli.progress import progress_bar
from api.cli.workspace import open_workspace
from billing.simulating import DraftPrices, simulate
from billing.simulation import FeatureAmounts, Interval, SimulatedCustomer, SimulatedTotal, Simulation
from billing.unit_of_work import UnitOfWork
from billing.whole_files import write_whole
from models.values.money import Currency, currency, from_minor, round_to_minor, shown_minor
from pricing_engine.price_book import PriceBook

_SHOWN = 5
_COLUMNS = (
    "customer", "segment", "currency", "issued_net", "live_net", "draft_net", "difference", "not_sold", "expected_low",
    "expected", "expected_high",
)  # fmt: skip


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "simulate", help="last month's ledger under a draft price book: winners and losers", description=__doc__
    )
    command.add_argument("file", type=Path, help="the draft, a catalog file with the key of the book it would replace")
    command.add_argument("--period", help="a closed month, like 2026-01 (default: the last one)")
    command.add_argument("--demand", action="store_true", help="say what is to be expected where demand responds")
    command.add_argument("--csv", type=Path, metavar="FILE", help="write one row a customer here")
    command.add_argument("--plot", type=Path, metavar="FILE", help="draw each customer's change here, as PNG")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Simulate, and say what changes."""
    draft = DraftPrices(read_catalog(options.file))
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow, progress_bar() as tell:
        found = simulate(uow, draft, options.period, progress=lambda done, of: tell("rating again", done, of))
        if options.demand:
            found = _responded(uow, draft.book, found)
    _print(found)
    if options.csv is not None:
        write_whole(options.csv, [csv_text(found).encode()])
    if options.plot is not None:
        plot(found, options.plot)
    return 0 if found.reproduced else 1


def _responded(uow: UnitOfWork, book: PriceBook, found: Simulation) -> Simulation:
    from api.cli.demand_text import warning_lines  # NumPy and what it needs: not for every command.
    from billing.demand_models import trusted_model
    from billing.demand_response import with_response

    model = trusted_model(uow, book.key)
    for line in warning_lines(model):
        print(line)
    return with_response(
        found, {book.currency: model.posterior}, seed=0, priced_as=book.segmentation.priced_as
    )  # fmt: skip


def csv_text(found: Simulation) -> str:
    """Return one row a customer and currency, amounts in major units, net of tax.

    What is expected where demand responds is empty for customers of whom no model speaks.
    """
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for each in found.customers:
        amounts = (each.issued.net_minor, each.live.net_minor, each.draft.net_minor, each.difference_minor)
        shown = [shown_minor(amount, each.currency) for amount in amounts]
        expected = [""] * 3 if each.expected is None else _to_minor(each.expected, currency(each.currency))
        rows.writerow([each.customer, each.segment, each.currency, *shown, " ".join(each.not_sold), *expected])
    return out.getvalue()


def plot(found: Simulation, path: Path) -> None:
    """Draw what each customer would pay more or less, one panel a currency."""
    import matplotlib as mpl  # Only here: it takes half a second.

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        max(len(found.totals), 1), squeeze=False, figsize=(9, 4 * max(len(found.totals), 1)), layout="constrained"
    )
    for total, panel in zip(found.totals, panels[:, 0], strict=False):
        own = sorted((each for each in found.customers if each.currency == total.currency), key=_difference)
        changes = [float(from_minor(each.difference_minor, currency(total.currency))) for each in own]
        panel.bar(range(len(own)), changes, color=["#1f6feb" if change <= 0 else "#c4492f" for change in changes])
        panel.axhline(0, color="#444444", linewidth=0.8)
        panel.set_xlabel("customers, from the largest saving to the largest rise")
        panel.set_ylabel(f"change, {total.currency} net")
        panel.set_title(f"{found.period} under {found.draft}: {total.winners} pay less, {total.losers} pay more")
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130, format="png")
    pyplot.close(figure)


def _print(found: Simulation) -> None:
    print(f"{found.period} under {found.draft}, usage as it was, net of tax")
    for total in found.totals:
        _print_total(total, found.by_feature(total.currency), found.cost(total.currency))
    for title, people in (("pay less", found.winners()), ("pay more", found.losers())):
        for each in people[:_SHOWN]:
            print(f"{title}: {each.customer} {shown_minor(each.difference_minor, each.currency)} {each.currency}")
    for each in found.customers:
        if each.not_sold:
            print(f"not sold by the draft: {', '.join(each.not_sold)} of {each.customer}")
        if not each.reproduced:
            issued, live = (
                shown_minor(each.issued.total_minor, each.currency),
                shown_minor(each.live.total_minor, each.currency),
            )
            print(f"differs: {each.customer} was invoiced {issued} {each.currency}, rated again {live}")
    if found.reproduced:
        print("rated again at the prices in force, the month equals its invoices to the cent")


def _print_total(total: SimulatedTotal, features: Mapping[str, FeatureAmounts], cost: Decimal) -> None:
    of = currency(total.currency)
    spent = round_to_minor(cost, of)
    before, after = total.live.net_minor, total.draft.net_minor
    invoiced, draft, change, margin, margin_after, shown_cost = (
        shown_minor(amount, of.code) for amount in (before, after, after - before, before - spent, after - spent, spent)
    )
    print(
        f"{of.code}: invoiced {invoiced}, draft {draft}, change {change}; "
        f"{total.customers} customers, {total.winners} pay less, {total.losers} pay more"
    )
    print(f"margin {margin} -> {margin_after}, over a cost of {shown_cost}")
    if total.expected is not None and total.expected_margin is not None:
        print(
            f"where demand responds ({total.responding} of {total.customers} customers), expected: "
            f"{_interval(total.expected, of)}; margin {_interval(total.expected_margin, of)}"
        )
    for feature, amounts in features.items():
        if amounts.live != amounts.draft:
            live, drafted = (shown_minor(round_to_minor(each, of), of.code) for each in (amounts.live, amounts.draft))
            print(f"  {feature}: {live} -> {drafted}")


def _interval(interval: Interval, of: Currency) -> str:
    low, mean, high = _to_minor(interval, of)
    return f"{mean}, 90 % {low} to {high}"


def _to_minor(interval: Interval, of: Currency) -> list[str]:
    return [f"{end:.{of.exponent}f}" for end in (interval.low, interval.mean, interval.high)]


def _difference(customer: SimulatedCustomer) -> int:
    return customer.difference_minor
