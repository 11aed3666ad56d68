"""`alacarte catalog`: validate, diff, publish, archive and export price books kept as files."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path

from api.catalog_file import catalog_json_schema, read_catalog, write_catalog
from api.cli.workspace import now_in, open_workspace
from billing.audit import Actor, record
from billing.publishing import archive, publish, sealed_book, sealed_sheet
from billing.repositories.price_books import PriceBookRepository, StoredBook
from billing.unit_of_work import UnitOfWork
from models.values.errors import NotFoundError
from pricing_engine.price_book import Change, diff_price_books, price_book_document
from pricing_engine.sealing import Disclosure, disclose
from pricing_engine.segmentation import DEFAULT_SEGMENT


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("catalog", help="validate, diff, publish and export price books")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)

    validate = actions.add_parser("validate", help="check a catalog file; needs no database")
    validate.add_argument("file", type=Path)
    validate.set_defaults(run=run_validate)

    schema = actions.add_parser("schema", help="print the JSON Schema of catalog files")
    schema.set_defaults(run=run_schema)

    diff = actions.add_parser("diff", help="compare two files, or a file with the book in force")
    diff.add_argument("before", type=Path, help="a file; alone it is compared with the book in force")
    diff.add_argument("after", type=Path, nargs="?")
    diff.set_defaults(run=run_diff)

    publish_ = actions.add_parser("publish", help="bring a version into force; an earlier one again is the rollback")
    publish_.add_argument("file", type=Path)
    publish_.add_argument("--actor", default="cli", help="who publishes (default: cli)")
    publish_.add_argument("--approver", help="who approved it")
    publish_.set_defaults(run=run_publish)

    archive_ = actions.add_parser("archive", help="take a book out of force")
    archive_.add_argument("key")
    archive_.add_argument("--actor", default="cli")
    archive_.set_defaults(run=run_archive)

    export = actions.add_parser("export", help="write a book in force as YAML, or signed at a disclosure level")
    export.add_argument("key")
    export.add_argument("--signed", metavar="FOLDER", type=Path, help="write book, sheet and public key here instead")
    export.add_argument("--level", choices=[level.value for level in Disclosure], default=Disclosure.BUYER.value)
    export.set_defaults(run=run_export)


def run_validate(options: argparse.Namespace) -> int:
    """Check one file."""
    book = read_catalog(options.file)
    print(f"{options.file}: {book.key} version {book.version}, {len(book.features)} features, valid")
    return 0


def run_schema(_options: argparse.Namespace) -> int:
    """Print the schema."""
    sys.stdout.write(catalog_json_schema())
    return 0


def run_diff(options: argparse.Namespace) -> int:
    """Print every difference, one a line. Exit status 0 also where there are some."""
    if options.after is not None:
        changes = diff_price_books(read_catalog(options.before), read_catalog(options.after))
    else:
        book = read_catalog(options.before)
        with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
            changes = diff_price_books(_in_force(uow, book.key, now_in(settings, uow)).book, book)
    for change in changes:
        print(_change_line(change))
    print(f"{len(changes)} differences", file=sys.stderr)
    return 0


def run_publish(options: argparse.Namespace) -> int:
    """Publish one file."""
    book = read_catalog(options.file)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        now = now_in(settings, uow)
        stored = publish(uow, book, settings.signer(), now, options.actor, options.approver)
        after = price_book_document(stored.book)
        record(uow, Actor(options.actor, now), "price_book.publish", ("price_book", book.key), after=after)
    print(f"published {book.key} version {book.version}: {stored.content_hash}")
    return 0


def run_archive(options: argparse.Namespace) -> int:
    """Archive one book."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        now = now_in(settings, uow)
        archive(uow, options.key, now, options.actor)
        record(uow, Actor(options.actor, now), "price_book.archive", ("price_book", options.key))
    print(f"archived {options.key}")
    return 0


def run_export(options: argparse.Namespace) -> int:
    """Write the version in force."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        now = now_in(settings, uow)
        stored = _in_force(uow, options.key, now)
        if options.signed is None:
            sys.stdout.write(write_catalog(stored.book))
            return 0
        signer = settings.signer()
        sheet = PriceBookRepository(uow).current_sheet(stored.content_hash, DEFAULT_SEGMENT, now)
    level = Disclosure(options.level)
    options.signed.mkdir(parents=True, exist_ok=True)
    for name, document in (("book", sealed_book(stored, signer)), ("sheet", sealed_sheet(sheet, signer))):
        (options.signed / f"{name}.json").write_text(json.dumps(disclose(document, level), ensure_ascii=False) + "\n")
    (options.signed / "public.pem").write_bytes(signer.public_pem)
    print(f"wrote book.json, sheet.json and public.pem to {options.signed}")
    return 0


def _in_force(uow: UnitOfWork, key: str, at: datetime) -> StoredBook:
    for stored in PriceBookRepository(uow).in_force(at):
        if stored.book.key == key:
            return stored
    raise NotFoundError("no version of this book is in force", field="key", value=key, code="unknown_price_book")


def _change_line(change: Change) -> str:
    before, after = (
        "absent" if side is None else json.dumps(side, ensure_ascii=False) for side in (change.before, change.after)
    )
    return f"{change.path}: {before} -> {after}"
