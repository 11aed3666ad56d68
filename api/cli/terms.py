"""Options of the commands that start a subscription: how it is billed, as a body of the API says it."""

from __future__ import annotations

import argparse

from api.cli.numbers import whole
from api.schemas.quotes import AcceptBody
from billing.subscriptions import SubscriptionTerms
from models.values.period import Interval


def add_terms(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    command.add_argument("--interval", choices=[*map(str, Interval)], default=Interval.MONTH)
    command.add_argument("--anchor-day", type=whole, help="day of the month on which periods begin (default: calendar)")
    command.add_argument("--zone", help="where days begin, such as Europe/Berlin (default: the customer's)")
    command.add_argument("--trial-days", type=whole, default=0)
    command.add_argument("--minimum-spend", metavar="AMOUNT", default="0", help="the least a full period costs")
    command.add_argument(
        "--threshold", metavar="AMOUNT", action="append", default=[], help="invoice when usage has reached it"
    )
    command.add_argument("--threshold-every", metavar="AMOUNT", help="and again each time it has grown by so much")


def terms_of(options: argparse.Namespace) -> SubscriptionTerms:
    """Return what the options say. Raises InvalidValueError."""
    return AcceptBody(
        interval=options.interval,
        anchor_day=options.anchor_day,
        zone=options.zone,
        trial_days=options.trial_days,
        minimum_spend=options.minimum_spend,
        thresholds=options.threshold,
        threshold_every=options.threshold_every,
    ).terms()
