"""The feature board: what each feature costs and earns, and what a selection comes to as features are toggled."""

from __future__ import annotations

from litestar import Controller, Response
from litestar.datastructures import State

from api.console.pages import ConsoleRequest, get, page
from api.console.quote_view import selection_page
from api.console.sessions import has_role
from api.services import Services
from billing.feature_sales import FeatureSales, feature_sales, last_billed_month, total_sales
from billing.people import Role


class BoardController(Controller):
    """The product door's first page."""

    path = "/product"
    guards = (has_role(Role.PRODUCT, Role.APPROVER),)

    @get("/", sync_to_thread=True)
    def board(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show every feature, and price the selection in the address."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            shown = selection_page(uow, request.query_params, services.signer, services.now(uow))
            month = last_billed_month(uow)
            sales: dict[str, FeatureSales] = {}
            billed = 0
            if month is not None:
                sales, billed = feature_sales(uow, month, shown.book.book.currency)
        offered = {feature.key for feature in shown.book.book.features}
        elsewhere = total_sales(sold for feature, sold in sales.items() if feature not in offered)
        return page(
            request, "board.html", shown=shown, month=month, sales=sales, billed=billed, elsewhere=elsewhere,
            total=total_sales(sales.values(), billed),
        )  # fmt: skip
