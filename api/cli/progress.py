"""A progress bar on standard error, for commands that take their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show one line a stage while open. What it gives is told the stage, how many steps are done, of how many."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    shown: dict[str, TaskID] = {}

    def tell(stage: str, done: int, of: int) -> None:
        if stage not in shown:
            shown[stage] = bar.add_task(stage, total=of)
        bar.update(shown[stage], completed=done, total=of)

    with bar:
        yield tell
