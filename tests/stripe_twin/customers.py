"""Customers, payment methods and connected accounts."""

from __future__ import annotations

from tests.stripe_twin.account import Account, Object, created_within, page
from tests.stripe_twin.form import Params
from tests.stripe_twin.problems import declined, invalid

_TEST_METHODS = {
    # Test payment methods and what charging them does: None succeeds.
    "pm_card_visa": ("4242", None),
    "pm_card_mastercard": ("4444", None),
    "pm_card_chargeCustomerFail": ("0341", "generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("9995", "insufficient_funds"),
}
_REFUSED_AT_ATTACH = {"pm_card_visa_chargeDeclined": "generic_decline"}


def create(account: Account, params: Params) -> Object:
    """POST /v1/customers."""
    body: Object = {
        "id": account.new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": account.timestamp(),
        "currency": None,
        "delinquent": False,
        "description": params.text("description"),
        "email": params.text("email"),
        "invoice_prefix": None,
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": params.metadata(),
        "name": params.text("name"),
        "phone": None,
        "preferred_locales": params.texts("preferred_locales"),
        "shipping": None,
        "tax_exempt": params.text("tax_exempt") or "none",
        "test_clock": None,
    }
    account.add("customer", body)
    _set_default_method(account, body, params)
    if account.card_on_file is not None:
        card = attach(account, Params({"customer": body["id"]}), account.card_on_file)
        body["invoice_settings"]["default_payment_method"] = card["id"]
    account.emit("customer.created", body)
    return body


def update(account: Account, params: Params, customer: str) -> Object:
    """POST /v1/customers/{customer}."""
    body = account.get("customer", customer, "customer")
    for name in ("email", "name", "description"):
        if name in params.tree:
            body[name] = params.text(name) or None
    body["metadata"] |= params.metadata()
    _set_default_method(account, body, params)
    account.emit("customer.updated", body)
    return body


def retrieve(account: Account, params: Params, customer: str) -> Object:
    """GET /v1/customers/{customer}."""
    return account.get("customer", customer, "customer")


def listing(account: Account, params: Params) -> Object:
    """GET /v1/customers."""
    email = params.text("email")
    found = [item for item in reversed(account.all("customer")) if email is None or item["email"] == email]
    return page(created_within(found, params), params, "/v1/customers")


def delete(account: Account, params: Params, customer: str) -> Object:
    """DELETE /v1/customers/{customer}."""
    body = account.get("customer", customer, "customer")
    body["deleted"] = True
    account.emit("customer.deleted", body)
    return {"id": customer, "object": "customer", "deleted": True}


def attach(account: Account, params: Params, payment_method: str) -> Object:
    """POST /v1/payment_methods/{payment_method}/attach; test methods become a copy with an id of its own."""
    customer = account.get("customer", params.required("customer"), "customer")
    if payment_method in _REFUSED_AT_ATTACH:
        raise declined(_REFUSED_AT_ATTACH[payment_method])
    if payment_method not in _TEST_METHODS:
        return account.get("payment_method", payment_method, "payment_method")
    last4, _ = _TEST_METHODS[payment_method]
    body: Object = {
        "id": account.new_id("pm"),
        "object": "payment_method",
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        "card": {"brand": "visa", "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": last4},
        "created": account.timestamp(),
        "customer": customer["id"],
        "livemode": False,
        "metadata": {},
        "type": "card",
    }
    return account.add("payment_method", body)


def methods_of(account: Account, params: Params, customer: str) -> Object:
    """GET /v1/customers/{customer}/payment_methods."""
    account.get("customer", customer, "customer")
    found = [item for item in reversed(account.all("payment_method")) if item["customer"] == customer]
    return page(found, params, f"/v1/customers/{customer}/payment_methods")


def decline_code(method: Object) -> str | None:
    """Return what charging the method is refused with, or None when it succeeds."""
    last4 = method["card"]["last4"]
    return next(code for digits, code in _TEST_METHODS.values() if digits == last4)


def create_connected(account: Account, params: Params) -> Object:
    """POST /v1/accounts: a partner who receives transfers."""
    body: Object = {"id": account.new_id("acct"), "object": "account", "email": params.text("email"), "metadata": {}}
    return account.add("account", body)


def _set_default_method(account: Account, customer: Object, params: Params) -> None:
    settings = params.child("invoice_settings")
    wanted = settings.text("default_payment_method") if settings else None
    if wanted is None:
        return
    method = account.get("payment_method", wanted, "invoice_settings[default_payment_method]")
    if method["customer"] != customer["id"]:
        raise invalid("The payment method belongs to another customer", param="invoice_settings")
    customer["invoice_settings"]["default_payment_method"] = wanted
