"""`alacarte explain-event`: what became of a usage event, for each meter: billed on which invoice, or why not."""

from __future__ import annotations

import argparse

from api.cli.workspace import open_workspace
from billing.event_fate import EventFate, MeterFate, fates_of
from models.values.quantity import plain


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("explain-event", help="say for each meter what became of a usage event, and why")
    command.add_argument("event", metavar="ID", help="the event's id")
    command.add_argument("--source", help="only the event of this source")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the fate of every event with that id."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        for fate in fates_of(uow, options.event, options.source):
            for line in _lines(fate):
                print(line)
    return 0


def _lines(found: EventFate) -> list[str]:
    event = found.event
    head = f"{event.source} {event.event_id}: {event.event_type} of {event.customer} at {event.time_text}"
    lines = [head, f"  recorded {found.recorded_at.isoformat()}, hash {event.body_hash.hex()}", f"  {event.data_text}"]
    lines += [f"  {_meter_line(fate)}" for fate in found.fates]
    lines += [f"  refused: another body under this id, hash {refused}" for refused in found.refused]
    return lines


def _meter_line(fate: MeterFate) -> str:
    parts = []
    if fate.feature:
        parts.append(f"{fate.feature} (meter {fate.meter}, subscription {fate.subscription}):")
    elif fate.subscription:
        parts.append(f"subscription {fate.subscription}:")
    parts.append(fate.fate.value.replace("_", " "))
    if fate.detail:
        parts.append(fate.detail)
    if fate.amount is not None:
        parts.append(f"adds {plain(fate.amount)}")
    parts += [f"in {number or 'a draft'} (charge {charge})" for charge, number in fate.charges]
    return " ".join(parts)
