"""Which values there are, where a type has only some: msgspec says that one is wrong, and not which are right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

_SAID = re.compile(r"Invalid enum value (?P<value>.*?)(?: - at `\$(?P<where>[^`]*)`)?$", re.DOTALL)
WHERE = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_NAMED = re.compile(r"Object (?:contains unknown|missing required) field `([^`]*)`")
_SHOWN_CHARS = 120
_STEP = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")


def rule_of(said: str, into: Any) -> str:  # noqa: ANN401
    """Return what msgspec refused of a value of the type `into`; of a choice, what there was to choose."""
    refused = _SAID.fullmatch(said)
    if refused is None:
        return said
    kinds = [inspect.type_info(into)]
    for step in _STEP.finditer(refused["where"] or ""):
        kinds = [below for kind in kinds for below in _below(kind, step[1])]
    known = [str(value) for kind in kinds for value in _values(kind)]
    return f"must be one of {', '.join(known)}, got {refused['value']}" if known else said


def member_of(said: str) -> str:
    """Return the member that a refusal of msgspec's means, as `lines[0].amount`: it says so in its text alone."""
    where = WHERE.search(said)
    named = _NAMED.match(said)
    parts = [where[1].lstrip(".") if where else "", named[1] if named else ""]
    return ".".join(filter(None, parts))[:_SHOWN_CHARS]


def _below(kind: inspect.Type, member: str | None) -> Iterator[inspect.Type]:
    """Yield what a type may hold under `member`, None for an item."""
    match kind:
        case inspect.UnionType(types=types):
            for each in types:
                yield from _below(each, member)
        case inspect.Metadata(type=inner):
            yield from _below(inner, member)
        case inspect.StructType(fields=fields):
            yield from (each.type for each in fields if each.encode_name == member)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            yield item
        case inspect.DictType(value_type=value):
            yield value


def _values(kind: inspect.Type) -> Iterator[object]:
    match kind:
        case inspect.UnionType(types=types):
            for each in types:
                yield from _values(each)
        case inspect.Metadata(type=inner):
            yield from _values(inner)
        case inspect.EnumType(cls=cls):
            yield from (each.value for each in cls)
        case inspect.LiteralType(values=values):
            yield from values
