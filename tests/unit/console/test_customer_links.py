"""A link shows one customer's page until it expires, and cannot be made or bent by anybody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.customer_links import CustomerLink, read_link, write_link
from models.values.errors import NotFoundError
from pricing_engine.sealing import new_signer
from tests.quote_facts import SIGNER

UNTIL = datetime(2026, 12, 1, tzinfo=UTC)
LINK = CustomerLink("default", "한강 / 소프트", UNTIL)
A_SECOND = timedelta(seconds=1)


def test_a_link_is_read_back_until_it_expires() -> None:
    token = write_link(LINK, SIGNER)
    assert token.replace("-", "").replace("_", "").isalnum()
    assert read_link(token, SIGNER, UNTIL - A_SECOND) == LINK
    with pytest.raises(NotFoundError):
        read_link(token, SIGNER, UNTIL)


def test_every_changed_character_is_refused() -> None:
    token = write_link(LINK, SIGNER)
    for i, char in enumerate(token[:-1]):
        bent = token[:i] + ("A" if char != "A" else "B") + token[i + 1 :]
        with pytest.raises(NotFoundError):
            read_link(bent, SIGNER, UNTIL - A_SECOND)


@pytest.mark.parametrize("token", ["", "A", "é", "=" * 9, "A" * 500])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(NotFoundError):
        read_link(token, SIGNER, UNTIL - A_SECOND)


def test_another_key_makes_no_links() -> None:
    with pytest.raises(NotFoundError):
        read_link(write_link(LINK, new_signer()), SIGNER, UNTIL - A_SECOND)
