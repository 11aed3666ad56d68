"""JSON lines in, JSON lines out: one request a line, each answered or refused on its own line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import msgspec

from models.values.errors import DomainError, InvalidValueError
from pricing_engine.tariffs.reading import Fields

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is refused, unread by the parser."""

_STDIN = "-"
_ENCODER = msgspec.json.Encoder()


def add_input(command: argparse.ArgumentParser) -> None:
    """Give a command the optional FILE it reads its requests from."""
    command.add_argument("file", nargs="?", default=_STDIN, metavar="FILE", help="JSON lines; standard input if absent")


def run_json_lines(path: str, answer: Callable[[Fields], dict[str, Any]]) -> int:
    """Answer each line of the file (`-`: standard input) on standard output. Returns the exit status 0."""
    if path == _STDIN:
        _write(answers(sys.stdin.buffer, answer), sys.stdout.buffer)
        return 0
    try:
        with open(path, "rb") as lines:
            _write(answers(lines, answer), sys.stdout.buffer)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InvalidValueError(str(error.strerror), field="file", value=path, code="unreadable_file") from error
    return 0


def answers(lines: Iterable[bytes], answer: Callable[[Fields], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield `{"id": ..., **answer}` or `{"id": ..., "error": {"code", "field", "message"}}` for each line, in order."""
    for line in lines:
        if not line.strip():
            continue
        identity: object = None
        try:
            request = Fields(_decode(line), "")
            identity = request.take("id")
            yield {"id": identity, **answer(request)}
        except DomainError as error:
            yield {"id": identity, "error": {"code": error.code, "field": error.field, "message": str(error)}}


def _decode(line: bytes) -> object:
    if len(line) > MAX_LINE_BYTES:
        raise InvalidValueError(f"a line holds at most {MAX_LINE_BYTES} bytes", code="line_too_long")
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValueError(f"is not JSON: {error}", code="invalid_json") from error


def _write(results: Iterable[dict[str, Any]], out: BinaryIO) -> None:
    for result in results:
        out.write(_ENCODER.encode(result) + b"\n")
    out.flush()
