"""Progress on standard error, for commands that take their time; nothing where nobody watches, as under a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn


def progress_on_terminal(*columns: ProgressColumn) -> Progress:
    """Return a display with these columns; disabled off a terminal, where it would leave empty lines in a log."""
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def step(title: str) -> Progress:
    """Say what is going on, and for how long, while it is."""
    bar = progress_on_terminal(TextColumn("{task.description}"), TimeElapsedColumn())
    bar.add_task(title, total=None)
    return bar


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show one line a stage while open. What it gives is told the stage, how many steps are done, of how many."""
    bar = progress_on_terminal(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown: dict[str, TaskID] = {}

    def tell(stage: str, done: int, of: int) -> None:
        if stage not in shown:
            shown[stage] = bar.add_task(stage, total=of)
        bar.update(shown[stage], completed=done, total=of)

    with bar:
        yield tell
