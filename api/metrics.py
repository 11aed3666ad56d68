"""Prometheus metrics of requests, labelled by route template: there are as many series as routes, whoever calls.

Of one worker, its registry; of several, the files they share in PROMETHEUS_MULTIPROC_DIR, so that a scrape sees all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from litestar.plugins.prometheus import PrometheusConfig, PrometheusMiddleware
from litestar.types import Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

Labels = dict[str, str | int | float]
Kind = TypeVar("Kind", bound=MetricWrapperBase)

_OUR_FAULT = 500


class _Answered(NamedTuple):
    """The series of one route, method and status."""

    count: Counter
    seconds: Histogram
    failed: Counter | None


class RequestMetrics(PrometheusMiddleware):
    """The framework's measurements, kept by one application: as shipped, they are shared by all of a process.

    A series is looked up by its labels once; as shipped, seven times a request.
    """

    _config: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Measure one request."""
        route = (str(scope.get("method")), scope["path_template"])
        running = self._config.running.get(route) or self._start(route)
        began = ended = time.perf_counter()
        status = 200

        async def measured(message: Message) -> None:
            nonlocal ended, status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                ended = time.perf_counter()
            await send(message)

        running.inc()
        try:
            await self.app(scope, receive, measured)
        finally:
            running.dec()
            series = self._config.answered.get((*route, status)) or self._answer(route, status)
            series.count.inc()
            series.seconds.observe(ended - began)
            if series.failed is not None:
                series.failed.inc()

    def _start(self, route: tuple[str, str]) -> Gauge:
        labels = _labels(route, 200)
        running = self._config.running[route] = self.requests_in_progress(labels).labels(*labels.values())
        return running

    def _answer(self, route: tuple[str, str], status: int) -> _Answered:
        labels = _labels(route, status)
        values = [*labels.values()]
        series = _Answered(
            self.request_count(labels).labels(*values),
            self.request_time(labels).labels(*values),
            self.requests_error_count(labels).labels(*values) if status >= _OUR_FAULT else None,
        )
        self._config.answered[*route, status] = series
        return series

    def request_count(self, labels: Labels) -> Counter:
        """Return the counter of answered requests."""
        return self._config.find(Counter, "requests_total", "Requests answered", labels)

    def requests_error_count(self, labels: Labels) -> Counter:
        """Return the counter of requests that failed for our fault."""
        return self._config.find(Counter, "requests_error_total", "Requests answered with 5xx", labels)

    def request_time(self, labels: Labels) -> Histogram:
        """Return the histogram of seconds until the answer."""
        return self._config.find(Histogram, "request_duration_seconds", "Seconds until the answer", labels)

    def requests_in_progress(self, labels: Labels) -> Gauge:
        """Return the gauge of requests that still run."""
        name = "requests_in_progress"
        return self._config.find(Gauge, name, "Requests that still run", labels, multiprocess_mode="livesum")


def _labels(route: tuple[str, str], status: int) -> Labels:
    return {"method": route[0], "path": route[1], "status_code": status}


@dataclass
class Metrics(PrometheusConfig):
    """What one application measures."""

    prefix: str = "alacarte"
    middleware_class: type[PrometheusMiddleware] = RequestMetrics
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    known: dict[str, MetricWrapperBase] = field(default_factory=dict)
    running: dict[tuple[str, str], Gauge] = field(default_factory=dict)
    answered: dict[tuple[str, str, int], _Answered] = field(default_factory=dict)

    def find(self, kind: type[Kind], name: str, text: str, labels: Mapping[str, object], **more: Any) -> Kind:  # noqa: ANN401
        """Return the metric of a name, making it the first time."""
        found = self.known.get(name)
        if found is None:
            made = kind(f"{self.prefix}_{name}", text, [*labels], registry=self.registry, **more)
            found = self.known.setdefault(name, made)
        if not isinstance(found, kind):
            raise TypeError(f"{name} is a {type(found).__name__}, not a {kind.__name__}")
        return found

    def exposition(self) -> bytes:
        """Return all series in Prometheus' text format, those of the other workers included."""
        directory = os.environ.get(SHARED_DIRECTORY)
        if directory is None:
            return generate_latest(self.registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared, directory)  # type: ignore[no-untyped-call]
        return generate_latest(shared)


def forget_dead_workers() -> None:
    """Let no worker that was killed count as one with requests in progress."""
    directory = os.environ.get(SHARED_DIRECTORY)
    for left in Path(directory).glob("gauge_live*_*.db") if directory else ():
        pid = int(left.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, directory)  # type: ignore[no-untyped-call]
