"""Schemathesis over the whole API in one process: every check, every phase, failures as readable text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

_CONFIG = """
seed = 20260301
headers = {{ Authorization = "Bearer {token}" }}

[generation]
max-examples = {examples}
deterministic = true
# A text with NUL is refused as malformed, which no schema of ours says.
allow-x00 = false
database = "none"

[checks]
# What is well formed may still break a rule of the domain (422), or need a precondition (412, 428).
positive_data_acceptance.expected-statuses = [
  "2xx", "401", "403", "404", "409", "412", "413", "422", "428", "429", "503"
]

# Says that it is not set up, and that the sender should come back.
[[operations]]
include-path = "/v1/stripe/events"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]
checks.negative_data_rejection.expected-statuses = ["4xx", "503"]

[phases.stateful]
enabled = true
max-steps = 10
generation.max-examples = {scenarios}
"""


@dataclass
class Report:
    """What a run found: failures by text, server errors among them, and how many requests it made."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def fuzz(app: Any, token: str, *, examples: int, scenarios: int) -> Report:
    """Run every phase with `examples` an operation and `scenarios` sequences of operations."""
    config = SchemathesisConfig.from_str(_CONFIG.format(token=token, examples=examples, scenarios=scenarios))
    schema = schemathesis.openapi.from_asgi("/openapi/openapi.json", _running(app), config=config)
    report = Report()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished | events.FuzzScenarioFinished):
            _add(report, event)
        elif isinstance(event, events.NonFatalError):
            report.errors.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    return report


def _running(app: Any) -> Any:
    """Return an application that is started and stopped by its test, and not with every request."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})

    return serve


def _add(report: Report, event: Any) -> None:
    recorder = event.recorder
    for case_id, interaction in recorder.interactions.items():
        report.requests += 1
        if interaction.response is not None:
            report.statuses[interaction.response.status_code] += 1
        case = recorder.cases.get(case_id)
        if case is not None:
            report.operations[case.value.operation.label] += 1
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.status is not Status.FAILURE or check.failure_info is None:
                continue
            case = recorder.cases[case_id].value
            failure = check.failure_info.failure
            where = f"{case.operation.label} {check.name}: {failure.title}"
            answer = recorder.interactions[case_id].response
            shown = "" if answer is None else f"{answer.status_code} {answer.content[:400]!r}"
            text = f"{failure.message}\n{check.failure_info.code_sample}\n{shown}"
            report.failures.setdefault(where, text)
