"""The OpenFeature provider, used through the OpenFeature API, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from api.client import calls
from api.client.feature_flags import EntitlementProvider
from api.client.http import Client
from tests.integration.client.conftest import Served

BUYER, STRANGER = EvaluationContext("cora"), EvaluationContext("echo")


@pytest.fixture
def flags(client: Client) -> Iterator[OpenFeatureClient]:
    """Flags of a server at which cora has three seats, single sign-on and calls with an allowance of 100."""
    selection = {"seats": 3, "sso": True, "calls": "0", "tokens": "0"}
    if not client.send(calls.check_entitlement("cora", "seats")).entitled:
        client.send(calls.accept_quote(client.send(calls.create_quote("cora", selection)).id))
    api.set_provider(EntitlementProvider(client), "entitlements")
    yield api.get_client("entitlements")
    api.clear_providers()


def test_a_feature_is_on_for_who_has_it(flags: OpenFeatureClient) -> None:
    assert flags.get_boolean_value("sso", False, BUYER) is True
    details = flags.get_boolean_details("sso", True, STRANGER)
    assert (details.value, details.reason, details.variant) == (False, Reason.TARGETING_MATCH, "not_subscribed")
    assert details.error_code is None


def test_numbers_say_what_is_left(flags: OpenFeatureClient) -> None:
    seats = flags.get_integer_details("seats", -1, BUYER)
    assert (seats.value, seats.reason, seats.flag_metadata["quantity"]) == (3, Reason.TARGETING_MATCH, "3")
    assert flags.get_float_value("calls", -1.0, BUYER) == 100.0
    assert flags.get_integer_value("seats", -1, STRANGER) == 0
    unlimited = flags.get_integer_details("tokens", 7, BUYER)
    assert (unlimited.value, unlimited.reason, unlimited.error_code) == (7, Reason.DEFAULT, None)
    whole = flags.get_object_value("seats", {}, BUYER)
    assert (whole["left"], whole["reason"]) == ("3", "subscribed")


def test_errors_give_the_default_and_say_why(flags: OpenFeatureClient, served: Served) -> None:
    for details, code in (
        (flags.get_boolean_details("sso", True), ErrorCode.TARGETING_KEY_MISSING),
        (flags.get_boolean_details("nothing", True, BUYER), ErrorCode.FLAG_NOT_FOUND),
        (flags.get_boolean_details("sso", True, EvaluationContext("nobody")), ErrorCode.INVALID_CONTEXT),
        (flags.get_integer_details("sso", 5, BUYER), ErrorCode.TYPE_MISMATCH),
        (flags.get_string_details("sso", "text", BUYER), ErrorCode.TYPE_MISMATCH),
    ):
        assert (details.error_code, details.reason) == (code, Reason.ERROR)
        assert details.value in (True, 5, "text")
    with Client(served.address, "no key") as locked_out:
        api.set_provider(EntitlementProvider(locked_out), "locked out")
        details = api.get_client("locked out").get_boolean_details("sso", False, BUYER)
        assert (details.value, details.error_code) == (False, ErrorCode.GENERAL)


def test_it_is_awaited_as_well(flags: OpenFeatureClient) -> None:
    async def ask() -> tuple[bool, int, float, object]:
        return (
            await flags.get_boolean_value_async("sso", False, BUYER),
            await flags.get_integer_value_async("seats", -1, BUYER),
            await flags.get_float_value_async("seats", -1.0, BUYER),
            (await flags.get_object_details_async("seats", {}, BUYER)).variant,
        )

    assert asyncio.run(ask()) == (True, 3, 3.0, "subscribed")
