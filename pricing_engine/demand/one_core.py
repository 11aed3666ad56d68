"""Run linear algebra on one core: the same bits on every machine, and no threads to wait for.

Our matrices are tall and narrow. With BLAS threads a refit took six times the processor time on a busy
machine, and sums in another order change the last digit, and with it a posterior's hash.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

_P = ParamSpec("_P")
_R = TypeVar("_R")


def on_one_core(work: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return `work` with BLAS held to one thread while it runs."""

    @wraps(work)
    def limited(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with _controller().limit(limits=1, user_api="blas"):
            return work(*args, **kwargs)

    return limited


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
