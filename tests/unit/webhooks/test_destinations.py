"""Where webhooks may go: everything that reaches inwards is refused, however it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.webhooks.destinations import DestinationRules, read_networks
from billing.webhooks.schedule import DISABLED_AFTER, WAITS, is_given_up, next_try
from billing.webhooks.sending import Sender
from models.values.errors import DomainError, InvalidValueError, RuleBrokenError
from tests.webhook_receiver import receiver

LIVE, SANDBOX = DestinationRules(is_live=True), DestinationRules(is_live=False)
LOOPBACK = DestinationRules(is_live=False, allowed=read_networks("127.0.0.0/8"))
INWARD = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",  # noqa: S104
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo: 10.0.0.1 behind a public server.
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", INWARD)
def test_no_address_that_reaches_inwards_is_let_through(address: str) -> None:
    for rules in (LIVE, SANDBOX):
        with pytest.raises(RuleBrokenError) as refused:
            rules.check_addresses([ip_address("93.184.215.14"), ip_address(address)])
        assert refused.value.code == "private_address"


@pytest.mark.parametrize("address", INWARD)
def test_nor_is_it_as_a_literal_in_the_url(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(DomainError):
        LIVE.check_url(f"https://{host}/hook")


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_let_through(address: str) -> None:
    assert LIVE.check_addresses([ip_address(address)]) == ip_address(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://receiver.example/hook",
        "ftp://receiver.example/",
        "https://",
        "https:///hook",
        "//receiver.example",
        "https://user@receiver.example/",
        "https://user:password@receiver.example/",
        "https://receiver.example/#part",
        "https://receiver.example\\@10.0.0.1/",
        "https://receiver.example/\nhost: x",
        "https://receiver.example:port/",
        "https://receiver.example:0/",
        "https://receiver.example:99999/",
        "https://receiver example/",
        "https://receiver..example/",
        "https://.example/",
        "https://-receiver.example/",
        "https://receiver-.example/",
        "https://receiver%20.example/",
        "https://receiver,example/",
        f"https://{'x' * 64}.example/",
        f"https://{'x' * 300}/",
        f"https://{'receiver.' * 30}example/",
        "https://rëceiver.example/",
        "https://receiver.example/" + "x" * 2000,
        "",
    ],
)
def test_live_takes_plain_https_urls_only(url: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        LIVE.check_url(url)
    assert refused.value.code == "invalid_url"


@pytest.mark.parametrize(
    "url",
    [
        f"https://{'x' * 63}.example/hook?key=a%20b",
        "https://xn--mnchen-3ya.example:65535/",
        "https://RECEIVER.example./",
        "https://hooks_in.receiver-1.example:8443",
        "https://receiver",
    ],
)
def test_what_can_be_looked_up_is_taken(url: str) -> None:
    assert LIVE.check_url(url).scheme == "https"


def test_a_sandbox_takes_http_but_no_private_network_unless_let_through() -> None:
    assert SANDBOX.check_url("http://receiver.example/hook").host == "receiver.example"
    with pytest.raises(RuleBrokenError):
        SANDBOX.check_url("http://127.0.0.1/")
    assert LOOPBACK.check_url("http://127.0.0.1:9/").port == 9


@given(st.integers(0, 2**32 - 1))
def test_an_address_is_judged_alike_in_every_spelling(number: int) -> None:
    v4 = ip_address(number)
    spellings = [f"::ffff:{v4}", f"64:ff9b::{v4}", str(ip_address((0x2002 << 112) | (number << 80)))]

    def verdict(text: str) -> bool:
        try:
            LIVE.check_addresses([ip_address(text)])
        except RuleBrokenError:
            return False
        return True

    assert {verdict(text) for text in spellings} == {verdict(str(v4))}


def send(rules: DestinationRules, url: str, addresses: Sequence[str]) -> object:
    asked = []

    async def resolving(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return addresses

    answer = asyncio.run(Sender(rules, resolving).send(url, {"webhook-id": "evt_1"}, b"{}"))
    assert len(asked) <= 1, "resolved once: what was checked is what is connected to"
    return answer


def test_the_checked_address_is_connected_to_under_the_names_own_host() -> None:
    with receiver() as there:
        port = there.url.rsplit(":", 1)[1].split("/")[0]
        answer = send(LOOPBACK, f"http://receiver.example:{port}/hook?a=1", ["127.0.0.1"])
        assert (answer.status, answer.error) == (200, None)
        assert there.received[0].headers["host"] == f"receiver.example:{port}"
        assert there.received[0].path == "/hook?a=1"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["fe80::1%eth0"], []])
def test_a_name_that_leads_inwards_is_not_connected_to(addresses: list[str]) -> None:
    with receiver() as there:
        answer = send(SANDBOX, there.url.replace("127.0.0.1", "receiver.example"), addresses)
        assert answer.status is None
        assert answer.error
        assert there.received == []


def test_a_redirect_is_an_answer_not_a_way() -> None:
    with receiver() as there:
        there.answers = [(302, {"location": there.url}, b"")]
        answer = send(LOOPBACK, there.url, ["127.0.0.1"])
        assert (answer.status, answer.is_taken) == (302, False)
        assert len(there.received) == 1


def test_a_long_answer_is_cut_and_a_slow_one_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as there:
        there.answers = [(500, {}, b"a\x00" * 5_000_000)]
        answer = send(LOOPBACK, there.url, ["127.0.0.1"])
        assert (answer.status, len(answer.text)) == (500, 1000)
        assert "\x00" not in answer.text
        monkeypatch.setattr("billing.webhooks.sending.TIMEOUT_SECONDS", 0.2)
        there.delay_seconds = 5
        answer = send(LOOPBACK, there.url, ["127.0.0.1"])
        assert (answer.status, answer.error) == (None, "no answer within 0.2 s")


def test_the_schedule_takes_three_days_and_ends() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert [next_try(tries, now, 0) for tries in range(1, len(WAITS) + 1)] == [now + wait for wait in WAITS]
    assert next_try(len(WAITS) + 1, now, 0) is None
    assert sum(WAITS, timedelta(0)) < timedelta(days=4) < DISABLED_AFTER
    assert next_try(1, now, 0.5) == now + timedelta(seconds=5.5)
    assert [is_given_up(now, now + DISABLED_AFTER + timedelta(seconds=each)) for each in (-1, 0)] == [False, True]
