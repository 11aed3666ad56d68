"""The reader of statements sees a tenant that is named, and misses none that is not."""

from __future__ import annotations

import pytest

from tests.tenant_filter import unfiltered

FILTERED = [
    "SELECT quote.id FROM quote WHERE quote.tenant = %(tenant_1)s::VARCHAR AND quote.state = 'open'",
    "select max(id) from account where tenant = ?",
    "select w.id from wallet as w, burn where w.tenant = ? and burn.tenant = w.tenant",
    "SELECT x FROM wallet AS a JOIN credit_grant g ON g.tenant = a.tenant AND (g.wallet = 1) WHERE 'o''x' = a.tenant",
    "select 1 from quote where tenant = ? union select 1 from wallet where wallet.tenant = ?",
    "SELECT EXISTS (SELECT * FROM quote WHERE quote.tenant = :t) AS q, (SELECT max(at) FROM burn WHERE tenant = $1)",
    "select * from usage_event where usage_event.tenant = ? and not exists (select 1 from usage_event as later "
    "where later.tenant = usage_event.tenant and later.corrects_id = usage_event.event_id)",
    "UPDATE quote SET state = ? WHERE quote.tenant = ?",
    "delete from hold_part where hold_part.tenant = ? and hold_part.hold = ?",
    "insert into quote (tenant, id) values (?, ?) on conflict (tenant, id) do update set state = excluded.state",
    'select "quote".id from "quote" where "quote"."tenant" = ?',
    "select 1 from json_each(?) as quote_names",
    "select pg_advisory_xact_lock(?)",
    "select max(((amount))) from quote where ((quote.tenant = ?) and (id = ?))",
    "select customer.key from customer where customer.tenant = ? for no key update",
]
UNFILTERED = [
    ("SELECT quote.id FROM quote WHERE quote.id = ?", "quote as quote"),
    ("select tenant from quote where state = ? -- tenant = ?", "quote as quote"),
    ("select 1 from quote where note = 'tenant = ?'", "quote as quote"),
    ("select 1 from wallet w join burn b on b.tenant = ? where w.id = b.key", "wallet as w"),
    ("select 1 from wallet, burn where wallet.tenant = burn.tenant", "wallet as wallet"),
    ("select 1 from wallet, burn where tenant = ?", "wallet as wallet"),
    ("select 1 from quote where tenant = ? union select 1 from wallet", "wallet as wallet"),
    ("select 1 from quote where quote.tenant = ? and id in (select hold from hold_part)", "hold_part as hold_part"),
    ("select 1 from (select id from quote) as q where q.id = ?", "quote as quote"),
    ("with q as (select id from quote) select * from q", "quote as quote"),
    ("UPDATE quote SET tenant_name = ? WHERE id = ?", "quote as quote"),
    ("UPDATE quote SET tenant = ?, state = ? WHERE quote.id = ?", "quote as quote"),
    ("delete from quote", "quote as quote"),
    ("insert into quote select * from quote as old", "quote as old"),
    ("select 1 from quote where quote.tenant <> ?", "quote as quote"),
]


@pytest.mark.parametrize("statement", FILTERED)
def test_a_named_tenant_is_seen(statement: str) -> None:
    assert unfiltered(statement) == ()


@pytest.mark.parametrize(("statement", "first"), UNFILTERED)
def test_a_missing_tenant_is_found(statement: str, first: str) -> None:
    assert first in unfiltered(statement)
