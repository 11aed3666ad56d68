"""The harness: a child works through steps and tells of each that is durable; it is killed; its work is inspected.

After each kill every acknowledged step must be there whole, and every other one whole or not at all; then all steps
are sent again, and each must be there exactly once.
"""

from __future__ import annotations

import importlib
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from typing import Protocol

from billing.database import Database

WORKLOADS = ("posting", "ingest", "close")
"""Modules of this package; each has a `WORKLOAD`."""

_BEYOND = 2
"""Steps after the last acknowledged one that are inspected and sent again as well."""
_LONGEST_START_SECONDS = 120
_AFTER_FIRST = 0.6
"""Share of kills that wait for a first step, so that most have something to lose."""

Tell = Callable[[int], None]
"""Told by a step how many of its rows are durable."""


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of work. `present` counts its rows, of which there are to be `expected`.

    A step that is not `atomic` may be found half done, though never less done than it told.
    """

    key: str
    expected: int
    run: Callable[[Database, Tell], None]
    present: Callable[[Database], int]
    atomic: bool = True


class Workload(Protocol):
    """A kind of work: how it begins, endless steps, and what must hold of the whole afterwards.

    `pause`: seconds within which a kill falls in the middle of things.
    """

    pause: float

    def prepare(self, database: Database) -> None:
        """Bring in what the steps refer to."""

    def steps(self, database: Database, number: int) -> Iterator[Step]:
        """Return the steps of round `number`, the same in every process; what they depend on is read at once."""

    def problems(self, database: Database) -> list[str]:
        """Say what is wrong with the database as a whole."""


@dataclass(slots=True)
class Tally:
    """What was done, and what must stay zero."""

    kills: int = 0
    acknowledged: int = 0
    unacknowledged: int = 0
    lost: int = 0
    partial: int = 0
    doubled: int = 0

    @property
    def is_clean(self) -> bool:
        return self.lost == self.partial == self.doubled == 0

    def add(self, other: Tally) -> None:
        for name in ("kills", "acknowledged", "unacknowledged", "lost", "partial", "doubled"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def describe(self) -> str:
        return (
            f"{self.kills} kills, {self.acknowledged} steps acknowledged, {self.unacknowledged} done but never "
            f"acknowledged; {self.lost} lost, {self.partial} partial, {self.doubled} doubled"
        )


def torture(url: str, name: str, kills: int, rng: random.Random) -> Tally:
    """Kill a workload `kills` times on the database at `url`; print what is wrong, if anything is."""
    # A server process that has imported everything forks the children: real processes, at work at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"tests.torture.{each}" for each in WORKLOADS])
    workload = _workload(name)
    database = Database(url)
    workload.prepare(database)
    tally = Tally()
    for number in range(kills):
        steps = workload.steps(database, number)
        database.close()  # Nobody else has the file open while the child works.
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(url, name, number, sender))
        child.start()
        sender.close()
        told = _kill(child, receiver, rng.uniform(0, workload.pause), after_first=rng.random() < _AFTER_FIRST)
        tally.kills += 1
        _inspect(database, steps, told, tally)
        for problem in workload.problems(database):
            say(f"{name} {number}: {problem}")
            tally.partial += 1
    database.close()
    return tally


def _workload(name: str) -> Workload:
    workload: Workload = importlib.import_module(f"tests.torture.{name}").WORKLOAD
    return workload


def _work(url: str, name: str, number: int, pipe: Connection) -> None:
    """Work until killed."""
    database = Database(url)
    pipe.send(("", 0))
    for step in _workload(name).steps(database, number):
        step.run(database, lambda rows, key=step.key: pipe.send((key, rows)))  # type: ignore[misc]
        pipe.send((step.key, step.expected))


def _kill(
    child: multiprocessing.process.BaseProcess, pipe: Connection, after: float, *, after_first: bool
) -> dict[str, int]:
    """Kill the child some time after it began, or after its first step; return how many rows it told were durable."""
    if not pipe.poll(_LONGEST_START_SECONDS):
        raise SystemExit("the child never began")
    pipe.recv()
    if after_first:
        pipe.poll(_LONGEST_START_SECONDS)
    time.sleep(after)
    child.kill()
    child.join()
    told: dict[str, int] = {}
    while pipe.poll():
        try:
            key, rows = pipe.recv()
        except EOFError:
            break
        told[key] = rows
    return told


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _inspect(database: Database, steps: Iterator[Step], told: dict[str, int], tally: Tally) -> None:
    looked_at = list(islice(steps, len(told) + _BEYOND))
    for step in looked_at:
        present = step.present(database)
        tally.acknowledged += told.get(step.key, 0) == step.expected
        tally.unacknowledged += present == step.expected and told.get(step.key, 0) < step.expected
        _count(step, present, tally, lost=present < told.get(step.key, 0),
               partial=step.atomic and 0 < present < step.expected)  # fmt: skip
    for step in looked_at:
        step.run(database, lambda _rows: None)
        present = step.present(database)
        _count(step, present, tally, lost=present < step.expected, doubled=present > step.expected)


def _count(
    step: Step, present: int, tally: Tally, *, lost: bool = False, partial: bool = False, doubled: bool = False
) -> None:
    tally.lost += lost
    tally.partial += partial
    tally.doubled += doubled
    if lost or partial or doubled:
        say(f"{step.key}: {present} of {step.expected} rows")
