"""From a handed-over invoice to money received, on both databases, over real sockets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from billing.collection import CollectionMethod, CustomerToBill
from billing.repositories import stripe_outbox as outbox
from billing.stripe.enqueue import enqueue_customer, enqueue_invoice
from billing.stripe.status import CollectionStatus
from tests.stripe.bridge import ADA, Bridge, an_invoice, assert_one_of_each
from tests.stripe_twin.twin import Twin


def test_an_invoice_is_collected(bridge: Bridge, twin: Twin) -> None:
    bridge.enqueue(an_invoice(tax_percent="19"))
    report = bridge.drain()
    (invoice,) = twin.account.all("invoice")
    row = bridge.row("inv-1")
    assert (invoice["status"], invoice["total"], invoice["amount_paid"]) == ("paid", 1_487, 1_487)
    assert [tax["amount"] for tax in invoice["total_taxes"]] == [237]
    assert (invoice["number"], invoice["auto_advance"]) == ("2026-00001", False)
    assert (row.status, row.paid_minor, row.stripe_id) == (CollectionStatus.PAID, 1_487, invoice["id"])
    assert bridge.listener.paid() == {"inv-1": 1_487}
    assert (report.failed, report.dead) == (0, 0)
    assert_one_of_each(bridge, twin)


def test_several_invoices_of_one_new_customer_share_that_customer(bridge: Bridge, twin: Twin) -> None:
    bridge.enqueue(*(an_invoice(number) for number in range(1, 6)))
    bridge.drain()
    assert_one_of_each(bridge, twin)


def test_handing_over_again_changes_nothing(bridge: Bridge, twin: Twin) -> None:
    for _ in range(2):
        bridge.enqueue(an_invoice())
        bridge.drain()
    bridge.enqueue(an_invoice())
    assert bridge.drain().done == 0
    assert_one_of_each(bridge, twin)


def test_nothing_is_handed_over_when_the_close_rolls_back(bridge: Bridge, twin: Twin) -> None:
    class CloseFailedError(Exception):
        pass

    def close_and_fail() -> None:
        with bridge.database.writing(bridge.tenant) as uow:
            enqueue_invoice(uow, an_invoice(), now=bridge.clock.now())
            raise CloseFailedError

    with pytest.raises(CloseFailedError):
        close_and_fail()
    assert bridge.drain().done == 0
    assert twin.requests == []


def test_an_invoice_that_is_sent_waits_for_the_customer(bridge: Bridge, twin: Twin) -> None:
    bridge.enqueue(an_invoice(method=CollectionMethod.SEND))
    bridge.drain()
    (invoice,) = twin.account.all("invoice")
    assert (invoice["status"], invoice["collection_method"]) == ("open", "send_invoice")
    assert invoice["due_date"] - invoice["created"] == 30 * 86_400
    assert "invoice.sent" in [event["type"] for event in twin.account.events]
    assert bridge.row("inv-1").status is CollectionStatus.OPEN


def test_a_changed_name_reaches_the_provider_once(bridge: Bridge, twin: Twin) -> None:
    renamed = CustomerToBill(ADA.key, "Ada King", ADA.email)
    bridge.enqueue(an_invoice(1))
    bridge.drain()
    bridge.enqueue(an_invoice(2, customer=renamed), an_invoice(3, customer=renamed))
    bridge.drain()
    (customer,) = twin.account.all("customer")
    assert customer["name"] == "Ada King"
    assert sum(twin.count("POST /v1/customers/{customer}").values()) == 1


def test_what_is_settled_by_other_means_is_not_collected(bridge: Bridge, twin: Twin) -> None:
    bridge.enqueue(replace(an_invoice(), settled_minor=250))
    bridge.drain()
    (invoice,) = twin.account.all("invoice")
    assert (invoice["total"], bridge.listener.paid()["inv-1"]) == (1_000, 1_000)


def test_no_tenant_sees_the_operations_of_another(bridge: Bridge, twin: Twin) -> None:
    other = replace(bridge, tenant="other")
    bridge.enqueue(an_invoice())
    assert other.drain().done == 0
    other.enqueue(an_invoice(1, amounts=(777,)))
    other.drain()
    assert [invoice["metadata"]["ala_ref"] for invoice in twin.account.all("invoice")] == ["other/inv-1"]
    bridge.settings = replace(bridge.settings)
    assert bridge.row("inv-1").status is CollectionStatus.CLOSED


def test_parameters_of_an_operation_are_what_their_hash_says(bridge: Bridge) -> None:
    from models.values.canonical_json import content_hash

    with bridge.database.writing(bridge.tenant) as uow:
        enqueue_customer(uow, ADA, now=bridge.clock.now())
        (row,) = outbox.unfinished(uow, outbox.Aggregate.CUSTOMER, "ada")
        assert row.params_sha256 == content_hash(row.params)
        assert row.idem_key == "ala1:default:customer:ada:1:create_customer:g1"
