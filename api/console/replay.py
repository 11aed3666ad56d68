"""Replaying last month: one price moved, every customer's closed month rated again, nothing written."""

from __future__ import annotations

from decimal import Decimal

from litestar import Controller, Response
from litestar.datastructures import State

from api.console.book_choice import book_choice
from api.console.forms import number_text
from api.console.pages import ConsoleRequest, get, page
from api.console.sessions import has_role
from api.services import Services
from billing.people import Role
from billing.repositories.customers import CustomerRepository
from billing.simulating import DraftPrices, simulate
from billing.simulation import Simulation
from models.values.errors import DomainError
from models.values.money import currency, from_minor
from models.values.quantity import EXACT, parse_decimal
from pricing_engine.price_sheet import PRICED_BY_ONE, book_at, list_price

_STEPS = 40
_SHOWN_CUSTOMERS = 8


class ReplayPages(Controller):
    """What last month would have been at another price."""

    path = "/product/replay"
    guards = (has_role(Role.PRODUCT, Role.APPROVER),)

    @get("/", sync_to_thread=True, takes_long=True)
    def replay(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show last month's revenue, margin, winners and losers at the price in the address."""
        services: Services = state.services
        with services.database.unhurried().reading(request.user.tenant) as uow:
            books = book_choice(uow, services.now(uow), request.query_params.get("book"))
            book = books.stored.book
            movable = [feature for feature in book.features if feature.tariff.model in PRICED_BY_ONE]
            asked = request.query_params.get("feature")
            feature = next((each for each in movable if each.key == asked), movable[0] if movable else None)
            found: Simulation | None = None
            refusal: DomainError | None = None
            today = price = step = Decimal(0)
            if feature is not None:
                today = list_price(feature)
                step = _step(today)
                price = today
                typed = number_text(request.query_params, "price")
                if typed and request.query_params.get("of") == feature.key:
                    price = parse_decimal(typed, "price", minimum=Decimal(0))
                try:
                    found = simulate(uow, DraftPrices(book_at(book, {feature.key: price})))
                except DomainError as error:
                    refusal = error
            shown = [] if found is None else [*found.winners()[:_SHOWN_CUSTOMERS], *found.losers()[:_SHOWN_CUSTOMERS]]
            known = CustomerRepository(uow).many({each.customer for each in shown})
        return page(
            request, "replay.html", movable=movable, feature=feature, price=price, today=today, step=step,
            found=found, refusal=refusal, margins=_margins(found), shown=_SHOWN_CUSTOMERS, books=books,
            names={each.key: each.legal_name for each in known.values()},
        )  # fmt: skip


def _step(price: Decimal) -> Decimal:
    """Return a round step of which the slider has about forty up to the list price."""
    if not price:
        return Decimal("0.01")
    rough = price / _STEPS
    return Decimal(1).scaleb(rough.adjusted())


def _margins(found: Simulation | None) -> dict[str, tuple[Decimal, Decimal]]:
    """Return by currency the margin of the month as it was and at the moved price: what is billed, less its cost."""
    margins = {}
    for total in [] if found is None else found.totals:
        cost, money = found.cost(total.currency), currency(total.currency)
        live, draft = from_minor(total.live.net_minor, money), from_minor(total.draft.net_minor, money)
        margins[total.currency] = (EXACT.subtract(live, cost), EXACT.subtract(draft, cost))
    return margins
