"""One call from request to answer, without any input or output: both clients drive it."""

from __future__ import annotations

import random
from typing import Any, TypeVar

import httpx
import msgspec

from api.client.calls import Call
from api.client.errors import ClientError, NoAnswerError, problem_of, refusal

Answer = TypeVar("Answer")
Outcome = httpx.Response | httpx.TransportError
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 20.0
_AGAIN = {429, 502, 503, 504}
_RUNS_STILL = "request_in_progress"
_RANDOM = random.SystemRandom()


def request_of(call: Call[Any]) -> dict[str, Any]:
    """Return the arguments for `build_request` of either of httpx's clients."""
    headers = {} if call.key is None else {"Idempotency-Key": call.key}
    content = None if call.body is None else msgspec.json.encode(call.body)
    if content is not None:
        headers["Content-Type"] = "application/json"
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.params) or None,
        "headers": headers,
        "content": content,
    }


def answer_of(call: Call[Answer], outcome: Outcome) -> Answer:
    """Return the typed answer. Raises NoAnswerError, RefusedError, ClientError for an answer of another form."""
    if isinstance(outcome, httpx.TransportError):
        raise NoAnswerError(f"{call.method} {call.path}: {outcome or type(outcome).__name__}") from outcome
    if not outcome.is_success:
        raise refusal(outcome)
    try:
        found: Answer = msgspec.json.decode(outcome.content, type=call.answer)
    except msgspec.MsgspecError as error:
        raise ClientError(f"{call.method} {call.path} was answered with something else: {error}") from error
    return found


class Attempts:
    """Says after each attempt whether, and when, to make another one: at most `most`, with full jitter."""

    def __init__(self, most: int) -> None:
        self._most, self._made = most, 0

    def pause_after(self, outcome: Outcome) -> float | None:
        """Return the seconds to wait before the next attempt, None where this one was the last."""
        self._made += 1
        if self._made >= self._most or not _may_end_otherwise(outcome):
            return None
        pause = _RANDOM.uniform(0, min(FIRST_PAUSE_SECONDS * 2.0**self._made, LONGEST_PAUSE_SECONDS))
        return max(pause, min(_asked_for(outcome), LONGEST_PAUSE_SECONDS))


def _may_end_otherwise(outcome: Outcome) -> bool:
    if isinstance(outcome, httpx.TransportError):
        return True
    if outcome.status_code == httpx.codes.CONFLICT:
        return problem_of(outcome).code == _RUNS_STILL
    return outcome.status_code in _AGAIN


def _asked_for(outcome: Outcome) -> float:
    asked = outcome.headers.get("retry-after", "") if isinstance(outcome, httpx.Response) else ""
    return float(asked) if asked.isdecimal() else 0.0
