"""The torture harness sees what is lost, partial or doubled; a harness that sees nothing would always pass."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.torture.harness import torture

_AFTER_THE_FIRST_STEP = 3
"""A seed that kills not before the first step is acknowledged."""


def test_a_broken_workload_is_caught_in_all_three_ways(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "alacarte.db"
    shutil.copy(sqlite_template, path)
    tally = torture(f"sqlite:///{path}", "broken", 1, random.Random(_AFTER_THE_FIRST_STEP))
    # Forgotten twice: when it was acknowledged, and when it was sent again.
    assert (tally.kills, tally.lost, tally.partial, tally.doubled) == (1, 2, 1, 1)


def test_posting_survives_a_kill(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "alacarte.db"
    shutil.copy(sqlite_template, path)
    tally = torture(f"sqlite:///{path}", "posting", 1, random.Random(_AFTER_THE_FIRST_STEP))
    assert tally.is_clean
    assert tally.kills == 1
