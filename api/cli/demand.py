"""`alacarte demand`: learn from quotes, propose prices within rails, publish what was approved, stop.

fit -> card -> propose -> publish; drift, or stop, when acceptance leaves the model. `watch` is for schedulers.
"""

from __future__ import annotations

import argparse
import importlib
from functools import partial
from pathlib import Path

from api.cli.numbers import whole


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("demand", help="learn demand from quotes; propose and publish prices")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    _register_epochs(actions)
    _register_watching(actions)
    _register_designs(actions)


def _register_epochs(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fit = _action(actions, "fit", "learn demand from the logged quotes and keep the model")
    _add_book(fit)
    fit.add_argument("--days", type=whole, default=365, help="learn from quotes this young (default: 365)")
    fit.add_argument("--silence-is-refusal", action="store_true", help="count quotes that ran out of time as refused")
    _add_attributes(fit)

    card = _action(actions, "card", "what a model rests on, how well it predicts, what should worry you")
    _add_book(card)
    card.add_argument("--model", type=whole, help="its version (default: the newest)")
    card.add_argument("--json", action="store_true", help="print the whole card as JSON")

    proposing = _action(actions, "propose", "propose the next price sheets within rails, with reasons")
    _add_book(proposing)
    proposing.add_argument("--model", type=whole, help="its version (default: the newest)")
    proposing.add_argument("--holdout", default="0.05", help="share of customers kept on list prices (default: 0.05)")
    proposing.add_argument("--seed", type=whole, default=0, help="of the posterior draw (default: 0)")
    proposing.add_argument("--actor", default="cli", help="who proposes (default: cli)")
    proposing.add_argument("--out", type=Path, default=Path("proposal.json"), help="default: proposal.json")

    publishing = _action(actions, "publish", "put a proposal in force, just as it was proposed")
    publishing.add_argument("file", type=Path)
    publishing.add_argument("--actor", default="cli", help="who publishes (default: cli)")


def _register_watching(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    stopping = _action(actions, "stop", "put everyone back on the list price at once")
    _add_book(stopping)
    stopping.add_argument("--reason", required=True)
    stopping.add_argument("--actor", default="cli", help="who stops (default: cli)")

    drifting = _action(actions, "drift", "does acceptance follow the model in force? exit status 1 if not")
    _add_book(drifting)
    drifting.add_argument("--stop", action="store_true", help="if not, put everyone back on the list price")
    drifting.add_argument("--actor", default="cli", help="who stops (default: cli)")

    watching = _action(actions, "watch", "one look for a scheduler: alarm, next epoch; exit status 1 on alarm")
    _add_book(watching)
    watching.add_argument("--automatic", action="store_true", help="publish what passes every gate, without a person")
    watching.add_argument("--epoch-hours", type=whole, default=168, help="how long prices stay (default: 168)")
    watching.add_argument("--days", type=whole, default=365, help="learn from quotes this young (default: 365)")
    watching.add_argument(
        "--silence-is-refusal", action="store_true", help="count quotes that ran out of time as refused"
    )
    _add_attributes(watching)
    watching.add_argument("--holdout", default="0.05", help="share of customers kept on list prices (default: 0.05)")
    watching.add_argument("--seed", type=whole, default=0, help="of the posterior draw (default: 0)")
    watching.add_argument(
        "--largest-risk", default="0.05", help="share of the log's profit a price may risk unseen (default: 0.05)"
    )
    watching.add_argument("--actor", default="watch", help="in whose name (default: watch)")


def _register_designs(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, help_ in (
        ("design-tariff", "design feature prices and a discount schedule, as a draft catalog"),
        ("suggest-bundle", "suggest the bundle that adds most, as a draft catalog"),
    ):
        drafting = _action(actions, name, help_, module="demand_designs")
        _add_design(drafting)
        drafting.add_argument("--customers", type=whole, default=10_000, help="drawn to try it on (default: 10,000)")
        drafting.add_argument("--out", type=Path, metavar="FILE", help="write the draft catalog here, as YAML")

    grouping = _action(actions, "group-offer", "design a price that falls as pledges come in", module="demand_designs")
    _add_design(grouping)
    grouping.add_argument("selection", nargs="+", metavar="FEATURE=QUANTITY")
    grouping.add_argument("--invited", type=whole, required=True, help="how many are asked")
    grouping.add_argument("--setup-cost", default="0", help="what serving any of them costs once (default: 0)")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_: str,
    *,
    module: str = "demand_actions",
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=help_)
    action.set_defaults(run=partial(_run, module, name.replace("-", "_")))
    return action


def _add_design(action: argparse.ArgumentParser) -> None:
    _add_book(action)
    action.add_argument("--model", type=whole, help="its version (default: the newest)")
    action.add_argument("--seed", type=whole, default=0, help="of the customers drawn (default: 0)")
    action.add_argument("--json", action="store_true", help="print figures as JSON")


def _add_attributes(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--attributes", type=Path, metavar="FILE",
        help="check that segments tell no protected attribute: CSV with customer and a column an attribute, not kept",
    )  # fmt: skip


def _add_book(action: argparse.ArgumentParser) -> None:
    action.add_argument("--book", help="key of the price book (default: the only one in force)")


def _run(module: str, name: str, options: argparse.Namespace) -> int:
    """Run an action; what it computes with takes seconds to load, so not for every command."""
    status: int = getattr(importlib.import_module(f"api.cli.{module}"), name)(options)
    return status
