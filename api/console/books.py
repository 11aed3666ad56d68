"""The books: where the months stand and how one is closed, the trial balance, and what is owed to us."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from litestar import Controller, Response, post
from litestar.datastructures import State
from litestar.params import FromPath

from api.console.forms import Form, text
from api.console.pages import ConsoleRequest, actor_of, get, go_to, page
from api.console.sessions import has_role
from api.services import Services
from billing import audit, ledger
from billing.chart_of_accounts import CHART
from billing.close_checks import checklist
from billing.closing import CloseOptions, close, reopen
from billing.feature_sales import billed_currencies, feature_sales, last_billed_month, total_sales
from billing.ledger_checks import CHECKS
from billing.months import first_day
from billing.people import Role
from billing.receivables import AGES, age, open_invoices, totals
from billing.repositories.closes import CloseRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.unit_of_work import UnitOfWork
from billing.verification import verify
from models.values.money import currency, from_ledger_units

_SHOWN_DRAFTS = 20


class BookPages(Controller):
    """The finance door."""

    path = "/finance"
    guards = (has_role(Role.FINANCE),)

    @get("/", sync_to_thread=True)
    def overview(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show where things stand: last month's revenue and margin, what is owed, the months."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            now = services.now(uow)
            month = last_billed_month(uow)
            revenue = [] if month is None else _revenues(uow, month)
            owed = totals(age(open_invoices(uow), now.date()))
            months = _months(uow, now.date().replace(day=1))
        return page(request, "finance.html", month=month, revenue=revenue, owed=owed, months=months)

    @get("/months/{period:str}", sync_to_thread=True, takes_long=True)
    def month(self, period: FromPath[str], request: ConsoleRequest, state: State) -> Response[str]:
        """Show a month's checklist."""
        services: Services = state.services
        with services.database.unhurried().reading(request.user.tenant) as uow:
            now = services.now(uow)
            checks = checklist(uow, period, now)
            drafts = InvoiceRepository(uow).many(InvoiceRepository(uow).drafts_due(now)[:_SHOWN_DRAFTS])
            found = CloseRepository(uow).find(period)
            later = any(each.key > period for each in CloseRepository(uow).all())
        stops = any(check.blocks and not check.passed for check in checks)
        return page(
            request, "month.html", period=period, checks=checks, month=found, stops=stops, later=later, drafts=drafts
        )

    @post("/months/{period:str}/close", sync_to_thread=True, takes_long=True)
    def close(self, period: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Close a month, or go on where a close was interrupted."""
        services: Services = state.services
        tenant = request.user.tenant
        with services.database.reading(tenant) as uow:
            now = services.now(uow)
        actor = actor_of(request, now)
        options = CloseOptions(actor=actor.name, collect=services.collect, by=actor)
        close(services.database.unhurried(), tenant, period, now, options)
        return go_to(f"/console/finance/months/{period}")

    @post("/months/{period:str}/reopen", sync_to_thread=True, takes_long=True)
    def reopen(self, period: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Open a month again, or give up a close that cannot be finished, and say why."""
        services: Services = state.services
        with services.database.writing(request.user.tenant) as uow:
            actor = actor_of(request, services.now(uow))
            reopen(uow, period, text(data, "reason"), actor.name, actor.at)
            audit.record(uow, actor, "month.reopen", ("close", period))
        return go_to(f"/console/finance/months/{period}")

    @get("/balance", sync_to_thread=True, takes_long=True)
    def balance(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show the trial balance, and verify the whole ledger where asked."""
        services: Services = state.services
        with services.database.unhurried().reading(request.user.tenant) as uow:
            balances = ledger.balances(uow)
            report = verify(uow, CHECKS) if request.query_params.get("verify") else None
        sums: dict[str, dict[str, int]] = {}
        for account, units in balances.items():
            by_code = sums.setdefault(account.asset, {})
            by_code[account.code] = by_code.get(account.code, 0) + units
        order = {code: place for place, code in enumerate(CHART)}
        assets = [
            (asset, [(CHART[code], _major(by_code[code], asset)) for code in sorted(by_code, key=order.__getitem__)])
            for asset, by_code in sorted(sums.items())
        ]
        return page(request, "balance.html", assets=assets, report=report, zero=Decimal(0))

    @get("/receivables", sync_to_thread=True)
    def receivables(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show who owes what, by age."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            today = services.now(uow).date()
            found = open_invoices(uow)
            known = CustomerRepository(uow).many({each.customer for each in found})
        names = {each.key: each.legal_name for each in known.values()}
        debts = age(found, today)
        return page(
            request, "receivables.html", debts=debts, totals=totals(debts), ages=AGES, names=names, today=today,
            oldest=[each for each in found if each.days_past_due(today)][:20],
        )  # fmt: skip


def _revenues(uow: UnitOfWork, month: str) -> list[tuple[str, Decimal, Decimal]]:
    """Return revenue and margin of a month in each currency that something was billed in."""
    found = []
    for code in billed_currencies(uow, month):
        total = total_sales(feature_sales(uow, month, code)[0].values())
        found.append((code, total.revenue, total.margin))
    return found


def _months(uow: UnitOfWork, this_month: date) -> list[tuple[str, str]]:
    """Return every month begun, and those after it up to this one, newest first, with their states."""
    begun = {month.key: month.state for month in CloseRepository(uow).all()}
    shown, day = [], max(first_day(max(begun)), this_month) if begun else this_month
    first = first_day(min(begun)) if begun else this_month
    while day >= first:
        key = f"{day:%Y-%m}"
        shown.append((key, begun.get(key, "open")))
        day = (day - timedelta(days=1)).replace(day=1)
    return shown[:24]


def _major(units: int, asset: str) -> Decimal:
    return from_ledger_units(units, currency(asset.rpartition(":")[2]))
