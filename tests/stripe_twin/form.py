"""Bracketed forms: `lines[0][amount]=500` to a tree and, by schema, to typed JSON.

The twin reads parameters through `Params`, which works without any schema; `coerce` serves the schema check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from tests.stripe_twin.problems import invalid

Tree = dict[str, Any]

_INTEGER = re.compile(r"-?\d+", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def parse(encoded: str) -> Tree:
    """Return the nested tree of a query string or form body; leaves are the strings that were sent."""
    tree: Tree = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True, strict_parsing=bool(encoded)):
        match = _KEY.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid parameter name: {name}", param=name)
        path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        node = tree
        for step in path[:-1]:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                raise invalid(f"Invalid parameter nesting: {name}", param=name)
        leaf = path[-1] or str(len(node))
        if leaf in node:
            raise invalid(f"Parameter sent twice: {name}", param=name)
        node[leaf] = value
    return tree


@dataclass(frozen=True, slots=True)
class Params:
    """Read access to a form tree by the types a handler expects; a wrong type is a 400 naming the parameter."""

    tree: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """Return a string, or None when absent."""
        value = self.tree.get(name)
        if value is not None and not isinstance(value, str):
            raise invalid(f"Invalid string: {name}", param=name)
        return value

    def required(self, name: str) -> str:
        """Return a string that must be there."""
        value = self.text(name)
        if not value:
            raise invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")
        return value

    def integer(self, name: str, default: int | None = None) -> int | None:
        """Return an integer, or `default` when absent."""
        value = self.text(name)
        if value is None:
            return default
        if not _INTEGER.fullmatch(value):
            raise invalid(f"Invalid integer: {value}", param=name, code="parameter_invalid_integer")
        return int(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a boolean, or `default` when absent."""
        value = self.text(name)
        if value is None:
            return default
        if value not in {"true", "false"}:
            raise invalid(f"Invalid boolean: {value}", param=name)
        return value == "true"

    def child(self, name: str) -> Params | None:
        """Return a nested map, or None when absent."""
        value = self.tree.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise invalid(f"Invalid object: {name}", param=name)
        return Params(value)

    def items(self, name: str) -> Iterator[Params]:
        """Walk a list of maps in the order of their indices."""
        for _, value in sorted(self._indexed(name)):
            if not isinstance(value, dict):
                raise invalid(f"Invalid object: {name}", param=name)
            yield Params(value)

    def texts(self, name: str) -> list[str]:
        """Return a list of strings."""
        return [str(value) for _, value in sorted(self._indexed(name))]

    def metadata(self, name: str = "metadata") -> dict[str, str]:
        """Return metadata within Stripe's limits: 50 keys of 40 characters, values of 500."""
        value = self.tree.get(name, {})
        pairs = {} if value == "" else dict(value)
        if len(pairs) > 50 or any(len(key) > 40 or len(str(text)) > 500 for key, text in pairs.items()):
            raise invalid("Metadata beyond 50 keys, 40 characters a key or 500 a value", param=name)
        return pairs

    def _indexed(self, name: str) -> list[tuple[int, Any]]:
        value = self.tree.get(name, {})
        if value == "":
            return []
        if not isinstance(value, dict) or not all(key.isdecimal() for key in value):
            raise invalid(f"Invalid array: {name}", param=name)
        return [(int(key), item) for key, item in value.items()]


def coerce(node: Any, schema: Mapping[str, Any]) -> Any:
    """Turn the strings of a form tree into what `schema` expects; what does not fit stays a string and fails later."""
    if "anyOf" in schema:
        return coerce(node, _alternative(node, schema["anyOf"]))
    kind = schema.get("type")
    if isinstance(node, dict):
        if kind == "array" and all(key.isdecimal() for key in node):
            return [coerce(node[key], schema.get("items", {})) for key in sorted(node, key=int)]
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties")
        fallback = others if isinstance(others, Mapping) else {}
        return {key: coerce(value, properties.get(key, fallback)) for key, value in node.items()}
    if kind == "integer" and _INTEGER.fullmatch(node):
        return int(node)
    if kind == "number" and _NUMBER.fullmatch(node):
        return float(node)
    if kind == "boolean" and node in {"true", "false"}:
        return node == "true"
    return node


def _alternative(node: Any, alternatives: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Choose the alternative whose form the node has: array by indices, object by its keys, scalar by its text."""
    if isinstance(node, dict):
        if node and all(key.isdecimal() for key in node):
            for option in alternatives:
                if option.get("type") == "array":
                    return option
        objects = [option for option in alternatives if option.get("type") == "object"]
        fitting = [option for option in objects if set(node) <= set(option.get("properties", node))]
        return next(iter([*fitting, *objects, *alternatives]))
    if node == "":
        return next((option for option in alternatives if "" in option.get("enum", [])), alternatives[0])
    for kind, pattern in (("integer", _INTEGER), ("number", _NUMBER), ("boolean", re.compile("true|false"))):
        if pattern.fullmatch(node):
            for option in alternatives:
                if option.get("type") == kind:
                    return option
    return next((option for option in alternatives if option.get("type") == "string"), alternatives[0])
