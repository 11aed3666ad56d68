"""What counters read from a batch of events, column by column: most columns are plain whole numbers, read at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing.metering.counters import Absent, Counter, Number, group_text, is_plain_digits, read_value
from billing.metering.totals import Cell, CellKey
from models.values.errors import DomainError

CustomerHour = tuple[str, str]
"""A customer, and the hour as a cell has it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One counter's readings of some events, by their place: a number, or None where it read nothing.

    `groups` is None where the counter has no groups. `lacking` are the places of events without the value, `errors`
    of those whose value it refuses. `is_plain`: every number is there and whole.
    """

    counter: Counter
    numbers: Sequence[Number | None]
    groups: Sequence[str] | None
    lacking: frozenset[int]
    errors: Mapping[int, DomainError]
    is_plain: bool


def read_column(counter: Counter, datas: Sequence[Mapping[str, Any]]) -> Column:
    """Read one counter's values of many events; the same as `read_value` of each."""
    plain = _plain_numbers(counter, datas)
    if plain is None:
        return _read_singly(counter, datas)
    groups = [group_text(counter.group_by, data) for data in datas] if counter.group_by else None
    return Column(counter, plain, groups, frozenset(), {}, is_plain=True)


def count_columns(
    cells: dict[CellKey, Cell], hours: Sequence[CustomerHour], numbers: Iterable[int], columns: Sequence[Column]
) -> None:
    """Count into `cells` what `columns` read of the events of these `numbers`, each in its customer's hour.

    Nothing of the same type stands in `cells` yet.
    """
    by_hour: defaultdict[CustomerHour, list[int]] = defaultdict(list)
    for number in numbers:
        by_hour[hours[number]].append(number)
    for column in columns:
        counter = column.counter.id
        for (customer, hour), of_hour in by_hour.items():
            for group, of_group in by_group(column, of_hour).items():
                cell = _cell(column, of_group)
                if cell.event_count:
                    cells[customer, counter, hour, group] = cell


def by_group(column: Column, places: Sequence[int]) -> dict[str, Sequence[int]]:
    """Part `places` by the group that the column read there."""
    if column.groups is None:
        return {"": places} if places else {}
    split: defaultdict[str, list[int]] = defaultdict(list)
    for place in places:
        split[column.groups[place]].append(place)
    return dict(split)


def _plain_numbers(counter: Counter, datas: Sequence[Mapping[str, Any]]) -> Sequence[int] | None:
    """Return the numbers if all are there and whole, and may be as they are."""
    name = counter.value_property
    if counter.filters or (name is not None and not counter.numeric):
        return None
    if name is None:
        return [0] * len(datas)
    values: list[Any] = [data.get(name) for data in datas]
    kinds = set(map(type, values))
    if kinds == {str} and all(map(is_plain_digits, values)):
        return list(map(int, values))
    return values if kinds == {int} and (counter.signed or min(values) >= 0) else None


def _read_singly(counter: Counter, datas: Sequence[Mapping[str, Any]]) -> Column:
    numbers: list[Number | None] = []
    groups: list[str] = []
    lacking = set()
    errors = {}
    for place, data in enumerate(datas):
        number, group = None, ""
        try:
            reading = read_value(counter, data)
        except DomainError as error:
            errors[place] = error
        else:
            if isinstance(reading, Absent):
                if reading is Absent.NO_VALUE:
                    lacking.add(place)
            else:
                number, group = reading.number, reading.group
        numbers.append(number)
        groups.append(group)
    return Column(counter, numbers, groups if counter.group_by else None, frozenset(lacking), errors, is_plain=False)


def _cell(column: Column, numbers: Sequence[int]) -> Cell:
    chosen: list[Any] = [column.numbers[number] for number in numbers]
    if column.is_plain and not column.counter.extremes:
        return Cell(len(chosen), sum(chosen))
    cell = Cell()
    for value in chosen:
        if value is not None:
            cell.add(value, extremes=column.counter.extremes)
    return cell
