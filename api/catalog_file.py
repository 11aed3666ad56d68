"""Catalog files: YAML in which every error names file, line, key, value and rule."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError, RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode

from models.values.errors import DomainError, InvalidValueError
from pricing_engine.catalog_schema import catalog_schema
from pricing_engine.price_book import PriceBook, parse_price_book, price_book_document

MAX_FILE_BYTES = 16 * 1024 * 1024


class CatalogFileError(InvalidValueError):
    """A catalog file was refused; `field` is `file:line: path`."""

    code = "catalog_refused"


def read_catalog(path: Path) -> PriceBook:
    """Read a price book from a YAML or JSON file. Raises what `parse_catalog` raises, and where it is unreadable."""
    return parse_catalog(_read_text(path), str(path))


def parse_catalog(text: str, name: str) -> PriceBook:
    """Read a price book from YAML or JSON text; `name` is what errors call it.

    Raises CatalogFileError naming file, line, key, value and rule; its code is that of the rule.
    """
    try:
        tree = _yaml().load(text)
    except DuplicateKeyError as error:
        raise CatalogFileError("key stands twice", field=_at(name, error), code="duplicate_key") from error
    except MarkedYAMLError as error:
        raise CatalogFileError(error.problem or "is not YAML", field=_at(name, error), code="invalid_yaml") from error
    except YAMLError as error:
        raise CatalogFileError("is not YAML", field=name, code="invalid_yaml") from error
    if not isinstance(tree, CommentedMap):
        raise CatalogFileError("must be one object", field=name, code="invalid_yaml")
    try:
        return parse_price_book(_plain(tree))
    except DomainError as error:
        line = _line_of(tree, error.field)
        raise CatalogFileError(
            error.rule, field=f"{name}:{line}: {error.field}", value=error.value, code=error.code
        ) from error


def write_catalog(book: PriceBook) -> str:
    """Return the book as YAML that `read_catalog` reads back to the same value."""
    out = StringIO()
    writer = YAML()
    writer.width = 110
    writer.dump(price_book_document(book), out)
    return out.getvalue()


def catalog_json_schema() -> str:
    """Return the JSON Schema that editors use to check and complete a catalog file."""
    return json.dumps(catalog_schema(), indent=2) + "\n"


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CatalogFileError(error.strerror or "cannot be read", field=str(path), code="unreadable_file") from error
    if len(raw) > MAX_FILE_BYTES:
        raise CatalogFileError(
            f"at most {MAX_FILE_BYTES} bytes", field=str(path), value=len(raw), code="file_too_large"
        )
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise CatalogFileError("must be UTF-8", field=str(path), code="not_utf8") from error


class _ExactConstructor(RoundTripConstructor):
    """Keeps line numbers, and a decimal number as the text that was written: it never passes through a float."""


def _number_as_written(_constructor: RoundTripConstructor, node: ScalarNode) -> str:
    return str(node.value)


_ExactConstructor.add_constructor("tag:yaml.org,2002:float", _number_as_written)


def _yaml() -> YAML:
    reader = YAML()
    reader.Constructor = _ExactConstructor
    reader.allow_duplicate_keys = False
    return reader


def _at(name: str, error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{name}:{mark.line + 1}" if mark is not None else name


def _plain(node: Any) -> Any:  # noqa: ANN401
    """Turn YAML's nodes into plain data; a decimal number keeps the digits that were written."""
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    if isinstance(node, datetime):
        return (node if node.tzinfo else node.replace(tzinfo=UTC)).isoformat()
    if isinstance(node, date):
        return f"{node.isoformat()}T00:00:00+00:00"
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, int):
        return int(node)
    return str(node)


def _line_of(tree: CommentedMap, field: str) -> int:
    """Return the line of the deepest node that a field path leads to."""
    node: Any = tree
    line = 0
    for step in _steps(field):
        if isinstance(node, CommentedMap) and step in node:
            line = node.lc.key(step)[0]
            node = node[step]
        elif isinstance(node, CommentedSeq):
            index = _index_in(node, step)
            if index is None:
                break
            line = node.lc.item(index)[0]
            node = node[index]
        else:
            break
    return line + 1


def _steps(field: str) -> list[str]:
    return [step for step in field.replace("[", ".").replace("]", "").split(".") if step]


def _index_in(node: CommentedSeq, step: str) -> int | None:
    if step.isdecimal():
        return int(step) if int(step) < len(node) else None
    for index, item in enumerate(node):
        if isinstance(item, CommentedMap) and item.get("key") == step:
            return index
    return None


def decode_json_object(raw: bytes, name: str) -> dict[str, Any]:
    """Decode one JSON object, as exported documents are. Raises InvalidValueError."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValueError(f"is not JSON: {error}", field=name, code="invalid_json") from error
    if not isinstance(document, dict):
        raise InvalidValueError("must be one JSON object", field=name, code="invalid_json")
    return document
