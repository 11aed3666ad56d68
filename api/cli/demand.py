"""`alacarte demand`: learn from quotes, propose prices within rails, publish what was approved, stop.

fit -> card -> propose -> publish; drift, or stop, when acceptance leaves the model.
"""

from __future__ import annotations

import argparse
import importlib
from functools import partial
from pathlib import Path


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("demand", help="learn demand from quotes; propose and publish prices")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)

    fit = _action(actions, "fit", "learn demand from the logged quotes and keep the model")
    _add_book(fit)
    fit.add_argument("--days", type=int, default=365, help="learn from quotes this young (default: 365)")
    fit.add_argument("--silence-is-refusal", action="store_true", help="count quotes that ran out of time as refused")

    card = _action(actions, "card", "what a model rests on, how well it predicts, what should worry you")
    _add_book(card)
    card.add_argument("--model", type=int, help="its version (default: the newest)")
    card.add_argument("--json", action="store_true", help="print the whole card as JSON")

    proposing = _action(actions, "propose", "propose the next price sheets within rails, with reasons")
    _add_book(proposing)
    proposing.add_argument("--model", type=int, help="its version (default: the newest)")
    proposing.add_argument("--holdout", default="0.05", help="share of customers kept on list prices (default: 0.05)")
    proposing.add_argument("--seed", type=int, default=0, help="of the posterior draw (default: 0)")
    proposing.add_argument("--out", type=Path, default=Path("proposal.json"), help="default: proposal.json")

    publishing = _action(actions, "publish", "put a proposal in force, just as it was proposed")
    publishing.add_argument("file", type=Path)
    publishing.add_argument("--actor", default="cli", help="who publishes (default: cli)")

    stopping = _action(actions, "stop", "put everyone back on the list price at once")
    _add_book(stopping)
    stopping.add_argument("--reason", required=True)
    stopping.add_argument("--actor", default="cli", help="who stops (default: cli)")

    drifting = _action(actions, "drift", "does acceptance follow the model in force? exit status 1 if not")
    _add_book(drifting)
    drifting.add_argument("--stop", action="store_true", help="if not, put everyone back on the list price")
    drifting.add_argument("--actor", default="cli", help="who stops (default: cli)")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help_: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=help_)
    action.set_defaults(run=partial(_run, name))
    return action


def _add_book(action: argparse.ArgumentParser) -> None:
    action.add_argument("--book", help="key of the price book (default: the only one in force)")


def _run(name: str, options: argparse.Namespace) -> int:
    """Run an action; what it computes with takes seconds to load, so not for every command."""
    status: int = getattr(importlib.import_module("api.cli.demand_actions"), name)(options)
    return status
