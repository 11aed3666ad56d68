"""The main job end to end: catalog, signed quotes, usage, two month closes, invoices that follow back to events.

Run by `make demo`; leaves everything in out/demo and says what to look at.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from api.catalog_file import read_catalog
from api.cli.main import main as alacarte
from api.cli.people import new_password
from api.settings import DEMO_HOME, Settings, load_settings
from billing.acceptance import accept_and_subscribe
from billing.database import Database
from billing.people import Role, add_person
from billing.publishing import publish
from billing.quotes import QuoteRequest, create_quote
from billing.repositories.customers import CustomerRepository
from examples.llm_gateway.shopping import shop
from examples.llm_gateway.summary import print_summary
from examples.llm_gateway.world import ENTITY, EVENTS_A_MONTH, MONTHS, Account, accounts, event_lines

HERE = Path(__file__).parent
PEOPLE = {"ann": [Role.PRODUCT, Role.FINANCE], "bob": list(Role)}
SIGN_IN = DEMO_HOME / "sign-in.txt"
PUBLISHED_AT = MONTHS[0] - timedelta(days=90)
SIGNING_FROM = MONTHS[0] - timedelta(days=7)

console = Console(stderr=True)


def main() -> int:
    """Run every step. Exit status 0, or that of the first command that failed."""
    started = time.monotonic()
    shutil.rmtree(DEMO_HOME, ignore_errors=True)
    DEMO_HOME.mkdir(parents=True)
    os.environ |= {
        "ALACARTE_DATABASE_URL": f"sqlite:///{DEMO_HOME / 'alacarte.db'}",
        "ALACARTE_SIGNING_KEY": str(DEMO_HOME / "signing_key.pem"),
    }
    settings = load_settings()
    world = accounts()
    with step("Publish the price book, quote and accept for thirty customers"):
        quotes = sell(settings, world)
        let_people_in(settings, SIGN_IN)
    for month in MONTHS:
        name = f"{month:%Y-%m}"
        with step(f"Write {name}'s events"):
            write_events(DEMO_HOME / f"events-{name}.jsonl", month, world)
        with step(f"Ingest {name}"):
            run("ingest", str(DEMO_HOME / f"events-{name}.jsonl"))
        with step(f"Close {name}"):
            run("close", name)
    with step("Export the registers, render PDFs, verify the ledger"):
        export_all()
    print_summary(settings, quotes)
    console.print(f"\n[bold]Done in {time.monotonic() - started:.0f} s.[/] Everything is in {DEMO_HOME}/.")
    console.print(f"The console (make serve) knows two people, see {SIGN_IN}:\n{SIGN_IN.read_text()}", highlight=False)
    return 0


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is going on, and how long it took."""
    console.print(f"[bold cyan]{title}[/] ...")
    started = time.monotonic()
    yield
    console.print(f"  [dim]{time.monotonic() - started:.1f} s[/]")


def run(*arguments: str) -> None:
    """Run one `alacarte` command as a user would, stopping where it fails."""
    console.print(f"  [dim]$ alacarte {' '.join(arguments)}[/]")
    status = alacarte(arguments)
    if status:
        sys.exit(status)


def sell(settings: Settings, world: list[Account]) -> dict[str, str]:
    """Publish, then quote and accept for each account at its own time. Returns quote ids by customer."""
    signer = settings.signer()
    database = Database(settings.database_url)
    database.migrate()
    quotes: dict[str, str] = {}
    with database.writing(settings.tenant) as uow:
        customers = CustomerRepository(uow)
        customers.save_legal_entity(ENTITY)
        customers.save([account.customer for account in world], PUBLISHED_AT)
        book = publish(uow, read_catalog(HERE / "catalog.yaml"), signer, PUBLISHED_AT, "ann", "bob")
    shop(database, settings.tenant, book, signer, world, SIGNING_FROM)
    for number, account in enumerate(world):
        request = QuoteRequest(account.customer.key, account.selection)
        quoted_at: datetime = account.accepted_at - timedelta(hours=30)
        quote_id = f"00000000-0000-7000-8000-{number:012d}"
        with database.writing(settings.tenant) as uow:
            create_quote(uow, request, signer, quoted_at, quote_id)
        with database.writing(settings.tenant) as uow:
            accept_and_subscribe(uow, quote_id, f"order-{number:03d}", account.accepted_at)
        quotes[account.customer.key] = quote_id
    database.close()
    return quotes


def let_people_in(settings: Settings, path: Path) -> dict[str, str]:
    """Give two people a password each, as publishing a price takes two, and write them to a file. Returns them."""
    now = datetime.now(UTC)
    passwords = {name: new_password() for name in PEOPLE}
    database = Database(settings.database_url)
    with database.writing(settings.tenant) as uow:
        for name, roles in PEOPLE.items():
            add_person(uow, name, roles, passwords[name], secrets.token_bytes(16), now)
    database.close()
    lines = [f"{name:<8}{passwords[name]}    {', '.join(roles)}\n" for name, roles in PEOPLE.items()]
    path.touch(mode=0o600)
    path.write_text("".join(lines), encoding="utf-8")
    return passwords


def write_events(path: Path, month: datetime, world: list[Account], count: int = EVENTS_A_MONTH) -> None:
    """Write one month's events as JSON lines."""
    with path.open("w", encoding="utf-8") as out:
        out.writelines(event_lines(month, world, count))


def export_all() -> None:
    """Write the registers of both months, the first month's PDFs, and check the ledger."""
    for month in MONTHS:
        name = f"{month:%Y-%m}"
        run("export", "invoices", "--period", name, "--format", "csv", "--out", str(DEMO_HOME / name))
    run("invoice", "pdf", "--period", f"{MONTHS[0]:%Y-%m}", "--out", str(DEMO_HOME / "invoices"))
    run("ledger", "verify")


if __name__ == "__main__":
    sys.exit(main())
