"""A peer written by others (localstripe): customers, cards, declines, refunds and the signatures of its webhooks.

It has no invoices without subscriptions and ignores idempotency keys, so it says nothing of how invoices are pushed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import stripe
from litestar import Litestar, Request, post

from billing.billing_provider import DeclinedError, MissingError, RefusedError
from billing.stripe.adapter import StripeProvider
from billing.stripe.errors import translated
from billing.stripe.signatures import BadSignatureError, check_signature
from tests.absent import absent
from tests.stripe.bridge import settings_for
from tests.stripe.conftest import with_sdk
from tests.stripe_twin.server import free_port, serving

_LAUNCHER = Path(__file__).parents[1] / "stripe_peer" / "launch.py"
_SIGNED_WITH = "whsec_peer"
T = TypeVar("T")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where localstripe listens; skipped, or failed in CI, where it is not installed."""
    if find_spec("localstripe") is None:
        absent("localstripe is not installed: pip install --no-deps -r requirements/stripe-peer.txt")
    port = free_port()
    folder = str(tmp_path_factory.mktemp("localstripe"))  # It keeps its state in the folder for temporary files.
    process = subprocess.Popen([sys.executable, str(_LAUNCHER), str(port)], env={**os.environ, "TMPDIR": folder})
    try:
        _wait_for(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        if process.poll() is not None:
            pytest.fail(f"localstripe ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    pytest.fail(f"localstripe does not listen on port {port}")


def _with(peer: str, work: Callable[[StripeProvider], Awaitable[T]]) -> T:
    """Run `work` on our own adapter."""

    async def _no_limit() -> None:
        return

    async def _run() -> T:
        provider = StripeProvider(settings_for(peer), _no_limit)
        try:
            return await work(provider)
        finally:
            await provider.close()

    return asyncio.run(_run())


async def _customer_with_card(v1: Any, number: str = "4242424242424242") -> tuple[str, str]:
    customer = await v1.customers.create_async({"name": "Ada", "metadata": {"ala_ref": "default/ada"}})
    card = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    method = await v1.payment_methods.create_async({"type": "card", "card": card})
    await v1.payment_methods.attach_async(method.id, {"customer": customer.id})
    return str(customer.id), str(method.id)


async def _charge(v1: Any, customer: str, method: str, amount: int) -> Any:
    params = {"amount": amount, "currency": "eur", "customer": customer, "payment_method": method, "confirm": True}
    return await v1.payment_intents.create_async(params)


def test_our_adapter_creates_and_renames_customers_and_knows_their_cards(peer: str) -> None:
    async def work(provider: StripeProvider) -> tuple[str, str, bool]:
        created = await provider.create_customer("default/ada", "Ada", "ada@example.com", "k1")
        changed = await provider.update_customer(created, "Ada King", "ada@example.com", "k2")
        return created, changed, await provider.has_payment_method(created)

    async def look(v1: Any) -> Any:
        customer = await v1.customers.retrieve_async(created)
        customer_with_card, method = await _customer_with_card(v1)
        default = {"invoice_settings": {"default_payment_method": method}}
        await v1.customers.update_async(customer_with_card, default)
        return customer.to_dict(), customer_with_card

    created, changed, has_card = _with(peer, work)
    shown, with_card = with_sdk(peer, look)
    assert (changed, has_card) == (created, False)
    assert (shown["name"], shown["metadata"]) == ("Ada King", {"ala_ref": "default/ada"})
    assert _with(peer, lambda provider: provider.has_payment_method(with_card)) is True
    with pytest.raises(MissingError):
        _with(peer, lambda provider: provider.has_payment_method("cus_nobody"))


@pytest.mark.parametrize("number", ["4000000000000002", "4000000000000341"])
def test_declines_are_business_results(peer: str, number: str) -> None:
    """The first card is refused when it is attached, the second when it is charged."""

    async def work(v1: Any) -> None:
        customer, method = await _customer_with_card(v1, number)
        await _charge(v1, customer, method, 1_000)

    with pytest.raises(stripe.CardError) as caught:
        with_sdk(peer, work)
    error = translated(caught.value)
    assert isinstance(error, DeclinedError)
    assert (error.status, error.reason) == (402, "card_declined")


def test_our_adapter_refunds_in_parts_and_finds_what_it_refunded(peer: str) -> None:
    intent: str = with_sdk(peer, lambda v1: _paid(v1, 1_000)).id

    async def work(provider: StripeProvider) -> None:
        refunds = [await provider.refund(intent, f"default/r{part}", 300 * part, f"k{part}") for part in (1, 2)]
        assert [(each.amount, each.currency, each.intent) for each in refunds] == [
            (300, "EUR", intent),
            (600, "EUR", intent),
        ]
        assert await provider.find_refund(intent, "default/r2") == refunds[1]
        assert await provider.find_refund(intent, "default/r3") is None
        assert set(await provider.fetch_refunds(intent)) == set(refunds)
        with pytest.raises(RefusedError):
            await provider.refund("pi_nothing", "default/r4", 1, "k4")

    _with(peer, work)


async def _paid(v1: Any, amount: int) -> Any:
    return await _charge(v1, *await _customer_with_card(v1), amount)


def test_every_webhook_it_signs_passes_our_check_and_none_with_another_secret(peer: str) -> None:
    heard: list[tuple[bytes, str]] = []
    enough = threading.Event()

    @post("/", status_code=200)
    async def hear(request: Request[Any, Any, Any]) -> None:
        heard.append((await request.body(), request.headers["Stripe-Signature"]))
        if len(heard) >= 6:
            enough.set()

    with serving(Litestar([hear], openapi_config=None, logging_config=None)) as url:
        httpx.post(f"{peer}/_config/webhooks/ours", json={"url": url, "secret": _SIGNED_WITH}, timeout=10)
        with_sdk(peer, lambda v1: _paid(v1, 500))
        with_sdk(peer, lambda v1: _paid(v1, 700))
        assert enough.wait(20), f"only {len(heard)} webhooks came"
    now, tolerance = datetime.now(UTC), timedelta(seconds=300)
    for body, header in heard:
        check_signature(body, header, (_SIGNED_WITH,), now, tolerance)
        with pytest.raises(BadSignatureError):
            check_signature(body, header, ("whsec_other",), now, tolerance)
        with pytest.raises(BadSignatureError):
            check_signature(body + b" ", header, (_SIGNED_WITH,), now, tolerance)


def test_only_the_launcher_imports_it() -> None:
    root = Path(__file__).parents[2]
    folders = ("api", "billing", "models", "pricing_engine", "tests", "benchmarks", "examples")
    files = [path for folder in folders for path in (root / folder).rglob("*.py")]
    importing = [
        path for path in files if re.search(r"^\s*(import|from) localstripe\b", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert importing == [_LAUNCHER]
