"""Does a statement say whose rows it means? Each table with a tenant that it reads or changes must be held to one.

`unfiltered` reads SQL as it is sent, so it sees through every way of making a statement. A table is held to a tenant
by `tenant = ` a parameter or a text, or by being equal to the tenant of a table that is, here or around a subquery.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from models.tables.base import metadata

_TOKEN = re.compile(
    r"""
    \s+ | --[^\n]* |
    (?P<value>'(?:[^']|'')*' | %\(\w+\)s | %[sbt] | \?\d* | :\w+ | \$\d+ | \d[\w.]*)(?:::[\w\[\]]+)? |
    (?P<name>"[^"]+"(?:\."[^"]+")* | [A-Za-z_]\w*(?:\.(?:\w+|"[^"]+"))*)(?:::[\w\[\]]+)? |
    (?P<mark><>|<=|>=|!=|\|\||::[\w\[\]]+|->>?|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_NO_ALIAS = frozenset(
    {"where", "join", "left", "right", "inner", "outer", "cross", "full", "on", "order", "group", "limit", "having"}
    | {"union", "except", "intersect", "for", "set", "using", "returning", "values", "select", "window", "offset"}
)
_BETWEEN_SCOPES = frozenset(("union", "except", "intersect"))
Tree = list["str | Tree"]


@cache
def tenant_tables() -> frozenset[str]:
    """Return the names of the tables whose rows belong to tenants."""
    return frozenset(table.name for table in metadata().sorted_tables if "tenant" in table.c)


@dataclass(slots=True)
class _Scope:
    """One SELECT, UPDATE or DELETE: the tables it names, by alias, and which are held to a tenant."""

    around: _Scope | None
    tables: dict[str, str] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    equal: list[tuple[str, str]] = field(default_factory=list)

    def is_bound(self, alias: str) -> bool:
        if alias in self.bound:
            return True
        return alias not in self.tables and self.around is not None and self.around.is_bound(alias)

    def settle(self) -> None:
        """Carry what is bound over to what is equal to it."""
        grown = True
        while grown:
            grown = False
            for pair in self.equal:
                for one, other in (pair, pair[::-1]):
                    if one in self.tables and one not in self.bound and self.is_bound(other):
                        self.bound.add(one)
                        grown = True


@cache
def unfiltered(statement: str) -> tuple[str, ...]:
    """Return the tables, by alias, whose rows of any tenant a statement would read or change."""
    return tuple(_check(_tree(_tokens(statement)), None))


def _tokens(statement: str) -> Iterator[str]:
    for match in _TOKEN.finditer(statement):
        if match["value"]:
            yield "?"
        elif match["name"]:
            yield match["name"].replace('"', "").lower()
        elif match["mark"]:
            yield match["mark"]


def _tree(tokens: Iterator[str]) -> Tree:
    """Nest by parentheses."""
    found: Tree = []
    for part in tokens:
        if part == ")":
            break
        found.append(_tree(tokens) if part == "(" else part)
    return found


def _is_query(part: str | Tree) -> bool:
    return isinstance(part, list) and part[:1] in (["select"], ["with"])


def _check(tree: Tree, around: _Scope | None) -> Iterator[str]:
    """Check one statement or subquery, and those within it."""
    start = 0
    for end, part in enumerate([*tree, "union"]):
        if isinstance(part, str) and part in _BETWEEN_SCOPES:
            if end > start:
                yield from _check_scope(tree[start:end], around)
            start = end + 1


def _check_scope(tree: Tree, around: _Scope | None) -> Iterator[str]:
    if len(tree) == 1 and isinstance(tree[0], list):
        yield from _check(tree[0], around)
        return
    scope = _Scope(around)
    inner: list[Tree] = []
    flat = list(_flat(tree, inner))
    _read_tables(flat, scope)
    _read_conditions(flat, scope)
    scope.settle()
    yield from (f"{table} as {alias}" for alias, table in scope.tables.items() if alias not in scope.bound)
    for each in inner:
        yield from _check(each, scope)


def _flat(tree: Tree, inner: list[Tree]) -> Iterator[str]:
    """Yield the tokens of a scope; subqueries are put aside."""
    for part in tree:
        if isinstance(part, str):
            yield part
        elif _is_query(part):
            inner.append(part)
            yield "(query)"
        else:
            yield "("
            yield from _flat(part, inner)
            yield ")"


def _read_tables(flat: Sequence[str], scope: _Scope) -> None:
    in_list = False
    for place, part in enumerate(flat):
        if part in {"where", "set", "order", "group", "select", "on"}:
            in_list = False
        if part in {"from", "join", "update"} or (part == "," and in_list):
            in_list = in_list or part == "from"
            name = flat[place + 1] if place + 1 < len(flat) else ""
            if name in tenant_tables():
                rest = [each for each in flat[place + 2 : place + 4] if each != "as"]
                alias = rest[0] if rest and rest[0].isidentifier() and rest[0] not in _NO_ALIAS else name
                scope.tables[alias] = name


def _read_conditions(flat: Sequence[str], scope: _Scope) -> None:
    assigns = False
    for left, equals, right in zip(flat, flat[1:], flat[2:], strict=False):
        if left in {"set", "from", "where"}:
            assigns = left == "set"
        if equals != "=" or assigns:  # What is assigned keeps no row of another tenant out.
            continue
        names = [_alias(side, scope) for side in (left, right)]
        if names[0] and names[1]:
            scope.equal.append((names[0], names[1]))
        elif "?" in {left, right}:
            scope.bound.update(name for name in names if name)


def _alias(side: str, scope: _Scope) -> str:
    """Return whose tenant a side of an equation is, "" where it is none."""
    name, dot, column = side.rpartition(".")
    if column != "tenant":
        return ""
    return name if dot else next(iter(scope.tables), "") if len(scope.tables) == 1 else ""


_HOMES = ("billing", "api", "tests", "models", "benchmarks", "examples", "alembic")
_READS_ROWS = ("select", "with", "update", "delete", "insert")


def watch() -> set[str]:
    """Refuse, from now on, every statement of billing or api that forgets the tenant; return those that were seen.

    Whatever a test does itself is its own business.
    """
    seen: set[str] = set()

    @event.listens_for(Engine, "before_cursor_execute")
    def _check_statement(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement in seen or not statement.lstrip("( \n").lower().startswith(_READS_ROWS):
            return
        if unfiltered(statement) and _issuer() in {"billing", "api"}:
            raise AssertionError(f"names no tenant for {', '.join(unfiltered(statement))}:\n{statement}")
        seen.add(statement)

    return seen


def _issuer() -> str:
    """Return which of our packages the statement at hand comes from."""
    frame = sys._getframe(2)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in _HOMES and frame.f_globals.get("__name__") != __name__:
            return package
        frame = frame.f_back  # type: ignore[assignment]
    return ""
