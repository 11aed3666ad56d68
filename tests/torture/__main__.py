"""Kill -9 at random moments of posting, ingesting and closing, on both databases; then resend everything.

    python -m tests.torture --kills 10

The last line counts what must never happen: `20 kills: 0 lost, 0 partial, 0 doubled`. Exit status 1 if it did.
A process that dies is not a machine that loses power: that needs other tests.
"""

from __future__ import annotations

import argparse
import random
import sys

from tests.torture.databases import NAMES, database_at
from tests.torture.harness import WORKLOADS, Tally, say, torture


def main() -> int:
    """Torture the databases asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10, help="on each database")
    parser.add_argument("--database", choices=NAMES, action="append")
    parser.add_argument("--workload", choices=sorted(WORKLOADS), action="append")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    names = options.workload or sorted(WORKLOADS)
    say(f"seed {seed}")
    total = Tally()
    for name in options.database or NAMES:
        rng = random.Random(f"{seed}/{name}")
        for place, workload in enumerate(names):
            kills = options.kills // len(names) + (place < options.kills % len(names))
            with database_at(name) as url:
                if url is None:
                    say(f"{name}: not there, left out")
                    break
                tally = torture(url, workload, kills, rng)
            say(f"{name} {workload}: {tally.describe()}")
            total.add(tally)
    say(f"{total.kills} kills: {total.lost} lost, {total.partial} partial, {total.doubled} doubled")
    return 0 if total.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
