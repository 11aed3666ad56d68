"""A real month: an LLM inference trace billed at a public price list. `make real DATA=<folder>`.

Each row of the trace is one event with two metered features, context and generated tokens, priced by a matrix
tariff on the model. The trace names neither customer nor model, so both follow from the row's number, counted
from 0 within each file: customer `row mod 40`, model `(row // 40) mod 20`.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from api.cli.main import main as alacarte
from api.settings import Settings, load_settings
from billing.acceptance import accept_and_subscribe
from billing.database import Database
from billing.invoices import Invoice
from billing.quotes import QuoteRequest, create_quote
from billing.repositories.invoices import InvoiceRepository
from models.values.errors import InvalidValueError
from models.values.money import currency, from_minor
from models.values.quantity import EXACT, plain

OUT = Path("out") / "real"
FILES = ("azure_llm_inference_2023_code.csv", "azure_llm_inference_2023_conv.csv")
PRICES = "llm_prices.json"
CUSTOMERS = 40
MODELS = 20
START = datetime(2023, 11, 1, tzinfo=UTC)
MONTH = "2023-11"
FEATURES = {"context_tokens": "ContextTokens", "generated_tokens": "GeneratedTokens"}
PRICE_FIELDS = {"context_tokens": "input_cost_per_token", "generated_tokens": "output_cost_per_token"}


def main(folder: Path) -> int:
    """Bill the trace and check the sum. Exit status 0, 1 where the sums differ, or that of a failed command."""
    started = time.monotonic()
    prices = first_models(folder / PRICES)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    os.environ |= {
        "ALACARTE_DATABASE_URL": f"sqlite:///{OUT / 'alacarte.db'}",
        "ALACARTE_SIGNING_KEY": str(OUT / "signing_key.pem"),
    }
    settings = load_settings()
    write_yaml(OUT / "catalog.yaml", catalog(prices))
    write_yaml(OUT / "customers.yaml", customers())
    write_yaml(OUT / "mapping.yaml", mapping(list(prices)))
    run("catalog", "publish", str(OUT / "catalog.yaml"))
    run("customers", "load", str(OUT / "customers.yaml"))
    subscribe(settings)
    trace = [str(folder / name) for name in FILES]
    ready = time.monotonic()
    run("ingest", *trace, "--mapping", str(OUT / "mapping.yaml"))
    run("close", MONTH)
    billed = time.monotonic()
    run("ingest", *trace, "--mapping", str(OUT / "mapping.yaml"))
    invoices = read_invoices(settings)
    exact = write_register(invoices, OUT / "register.csv")
    print(f"ingest, close and invoices: {billed - ready:.1f} s")
    expected = independent_sum(folder, prices)
    print(f"sum of the register's exact amounts  {plain(exact)} USD")
    print(f"independent sum over the CSV files   {plain(expected)} USD")
    run("invoice", "pdf", "--period", MONTH, "--out", str(OUT))
    print(f"{len(invoices)} invoices; register and PDFs are in {OUT}/. {time.monotonic() - started:.1f} s in all")
    return 0 if exact == expected else 1


def run(*arguments: str) -> None:
    """Run one `alacarte` command as a user would, stopping where it fails."""
    print(f"$ alacarte {' '.join(arguments)}")
    status = alacarte(arguments)
    if status:
        sys.exit(status)


def first_models(path: Path) -> dict[str, dict[str, str]]:
    """Return the first models of the price list, in key order, that have prices for input and output."""
    if not path.is_file():
        raise InvalidValueError("no price list there", field="DATA", value=path.parent, code="unreadable_file")
    listed: dict[str, dict[str, str]] = json.loads(path.read_text())["models"]
    priced = [
        name for name in sorted(listed) if all(Decimal(listed[name].get(field, "0")) for field in PRICE_FIELDS.values())
    ]
    return {name: listed[name] for name in priced[:MODELS]}


def catalog(prices: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return the price book: both features by model, at the list's prices."""
    return {
        "key": "llm-trace",
        "version": 1,
        "currency": "USD",
        "effective_from": START.isoformat(),
        "meters": [
            {
                "key": key,
                "event_type": "llm.request",
                "aggregation": "sum",
                "value_property": key,
                "group_by": ["model"],
            }
            for key in FEATURES
        ],
        "features": [
            {
                "key": key,
                "name": key.replace("_", " ").capitalize(),
                "kind": "metered",
                "meter": key,
                "tariff": {
                    "model": "matrix",
                    "rules": [
                        {"when": {"model": name}, "model": "unit", "unit_amount": price[PRICE_FIELDS[key]]}
                        for name, price in prices.items()
                    ],
                    # A model that the list does not have costs what its dearest costs.
                    "default": {"unit_amount": max((each[PRICE_FIELDS[key]] for each in prices.values()), key=Decimal)},
                },
            }
            for key in FEATURES
        ],
    }


def customers() -> dict[str, Any]:
    """Return forty customers outside of any tax, so that totals are what the features cost."""
    return {
        "legal_entities": [{"key": "gateway", "name": "Gateway Ltd", "country": "IE", "number_prefix": "REAL"}],
        "customers": [
            {
                "key": f"customer-{number:02d}",
                "legal_entity": "gateway",
                "legal_name": f"Customer {number:02d}",
                "country": "US",
                "currency": "USD",
                "tax_exempt": True,
            }
            for number in range(CUSTOMERS)
        ],
    }


def mapping(models: list[str]) -> dict[str, Any]:
    """Return how a row becomes an event."""
    return {
        "fields": {
            "source": {"file": "stem"},
            "id": {"row": {}},
            "type": {"constant": "llm.request"},
            "subject": {"row": {"modulo": CUSTOMERS}, "prefix": "customer-", "pad": 2},
            "time": {"column": "TIMESTAMP", "zone": "UTC"},
        },
        "data": {
            **{key: {"column": column} for key, column in FEATURES.items()},
            "model": {"row": {"divide": CUSTOMERS, "modulo": len(models)}, "lookup": models},
        },
    }


def subscribe(settings: Settings) -> None:
    """Quote and accept both features for every customer, at the start of the month."""
    signer = settings.signer()
    database = Database(settings.database_url)
    for number in range(CUSTOMERS):
        quote_id = f"00000000-0000-7000-8000-{number:012d}"
        request = QuoteRequest(f"customer-{number:02d}", dict.fromkeys(FEATURES, "0"), hold_for=timedelta(days=1))
        with database.writing(settings.tenant) as uow:
            create_quote(uow, request, signer, START, quote_id)
            accept_and_subscribe(uow, quote_id, quote_id, START)
    database.close()


def read_invoices(settings: Settings) -> list[Invoice]:
    """Return the month's invoices by number."""
    database = Database(settings.database_url)
    with database.reading(settings.tenant) as uow:
        repository = InvoiceRepository(uow)
        invoices = repository.many(repository.of_period(MONTH))
    database.close()
    return sorted(invoices, key=lambda invoice: invoice.number or "")


def write_register(invoices: list[Invoice], path: Path) -> Decimal:
    """Write the register and return the sum of its exact amounts."""
    money = currency("USD")
    exact = Decimal(0)
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["invoice_number", "customer", "currency", "exact_amount", "total", "remainder"])
        for invoice in invoices:
            total = from_minor(invoice.total_minor, money)
            remainder = EXACT.subtract(invoice.exact, total)
            exact = EXACT.add(exact, invoice.exact)
            row = [
                invoice.number,
                invoice.customer,
                invoice.currency,
                plain(invoice.exact),
                f"{total:f}",
                plain(remainder),
            ]
            writer.writerow(row)
    return exact


def independent_sum(folder: Path, prices: dict[str, dict[str, str]]) -> Decimal:
    """Add up tokens x price row by row, with nothing but the csv module and decimals."""
    models = list(prices.values())
    total = Decimal(0)
    for name in FILES:
        with (folder / name).open(newline="") as rows:
            for number, row in enumerate(csv.DictReader(rows)):
                price = models[(number // CUSTOMERS) % len(models)]
                for key, column in FEATURES.items():
                    total = EXACT.add(total, EXACT.multiply(Decimal(row[column]), Decimal(price[PRICE_FIELDS[key]])))
    return total


def write_yaml(path: Path, document: dict[str, Any]) -> None:
    """Write one configuration file."""
    with path.open("w", encoding="utf-8") as out:
        YAML().dump(document, out)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make real DATA=<folder with the trace and the price list>")
    sys.exit(main(Path(sys.argv[1])))
