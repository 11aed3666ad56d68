"""`alacarte ingest`: usage events from files, each counted once however often it is sent.

Exit status 1 where an event was invalid or in conflict; each is named on standard error with its file and line.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from api.cli.workspace import current_time, now_in, open_workspace
from api.settings import Settings
from billing.database import Database
from billing.metering.csv_mapping import CsvMapping, parse_mapping
from billing.metering.directory import PriceBookDirectory
from billing.metering.event_files import EventFile, Line, open_event_file
from billing.metering.ingest import Received, ingest
from billing.metering.outcome import Outcome, Status
from billing.metering.registry import pick_up
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError

_BATCH_EVENTS = 10_000
_SHOWN_REFUSALS = 20
_REFUSED = {Status.INVALID, Status.CONFLICT}
_REFUSED_STATUS = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "ingest",
        help="store usage events from JSON lines or CSV files",
        description="Each event is stored once, however often its file is ingested; run again after an interruption.",
    )
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".jsonl (CloudEvents) or .csv")
    command.add_argument("--mapping", type=Path, metavar="FILE", help="YAML: how columns of CSV files become events")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check every file, then store their events in batches and print how many of each outcome there were."""
    mapping = None if options.mapping is None else read_mapping(options.mapping)
    files = [open_event_file(path, mapping) for path in options.files]
    counts = [file.check() for file in files]
    refusals = _Refusals()
    totals: Counter[Status] = Counter()
    with open_workspace() as (settings, database), _progress() as progress:
        for file, count in zip(files, counts, strict=True):
            task = progress.add_task(file.path.name, total=count)
            for lines, outcomes in _stored(settings, database, file):
                totals.update(outcome.status for outcome in outcomes)
                refusals.add(file, lines, outcomes)
                progress.advance(task, len(lines))
        with database.writing(settings.tenant) as uow:
            pick_up(uow, PriceBookDirectory(), now_in(settings, uow))
    refusals.print()
    print(
        f"{totals[Status.ACCEPTED]} accepted, {totals[Status.DUPLICATE]} duplicates, "
        f"{totals[Status.CONFLICT]} conflicts, {totals[Status.UNMATCHED]} unmatched, {totals[Status.INVALID]} invalid"
    )
    return _REFUSED_STATUS if any(totals[status] for status in _REFUSED) else 0


def read_mapping(path: Path) -> CsvMapping:
    """Read a mapping file. Raises InvalidValueError naming the file and the place in it."""
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InvalidValueError(str(error), field=str(path), code="unreadable_file") from error
    return parse_mapping(document, str(path))


def _stored(settings: Settings, database: Database, file: EventFile) -> Iterator[tuple[list[Line], list[Outcome]]]:
    directory = PriceBookDirectory()
    for lines in _batches(file.events(current_time(settings, database)), _BATCH_EVENTS):
        events = [event for _, event in lines]
        work = partial(_store, settings=settings, events=events, directory=directory)
        yield lines, database.write(settings.tenant, work)


def _store(uow: UnitOfWork, settings: Settings, events: Received, directory: PriceBookDirectory) -> list[Outcome]:
    return ingest(uow, events, directory, now_in(settings, uow))


def _batches(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    iterator = iter(lines)
    while batch := list(islice(iterator, size)):
        yield batch


class _Refusals:
    """What was refused, for standard error: the first few, and how many more."""

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._count = 0

    def add(self, file: EventFile, lines: list[Line], outcomes: list[Outcome]) -> None:
        for (number, _), outcome in zip(lines, outcomes, strict=True):
            if outcome.status in _REFUSED:
                self._count += 1
                if len(self._shown) < _SHOWN_REFUSALS:
                    self._shown.append(f"{file.path}:{number}: {outcome.code}: {outcome.message}{_hashes(outcome)}")

    def print(self) -> None:
        for line in self._shown:
            print(line, file=sys.stderr)
        if self._count > len(self._shown):
            print(f"... and {self._count - len(self._shown)} more", file=sys.stderr)


def _hashes(outcome: Outcome) -> str:
    return f" (kept {outcome.kept_hash}, sent {outcome.sent_hash})" if outcome.kept_hash else ""


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
