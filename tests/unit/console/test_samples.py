"""Code samples run as they are pasted, whatever the selection says."""

from __future__ import annotations

import ast
import json
import os
import subprocess

import pytest

from api.console.samples import samples

AWKWARD = {"customer": "o'neil", "selection": {"seats": "3", "sso": True, "note": 'a "b" $HOME `id` : true, false'}}
SPIED = 'curl() { for each in "$@"; do [ "$each" = -H ] || printf "%s\\0" "$each"; done; }; '


@pytest.mark.parametrize(("token", "key"), [(None, "from the environment"), ("ala_1", "ala_1")])
def test_the_shell_sends_what_was_selected_with_the_key(token: str | None, key: str) -> None:
    sample = samples(AWKWARD, "http://here:1", token)["curl"]
    environment = {**os.environ, "ALACARTE_KEY": "from the environment"}
    sent = subprocess.run(["bash", "-euc", SPIED + sample], env=environment, capture_output=True, text=True, check=True)
    address, bearer, kind, _, body = sent.stdout.rstrip("\0").split("\0")
    assert (address, bearer, kind) == (
        "http://here:1/v1/quotes/preview",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
    )
    assert json.loads(body) == AWKWARD


@pytest.mark.parametrize("asked", [AWKWARD, {"customer": "a", "selection": {}}])
def test_python_says_what_was_selected(asked: dict[str, object]) -> None:
    plain, client = (samples(asked, "http://here:1", None)[name] for name in ("Python", "Python, Alacarte"))
    [posted] = [node for node in ast.walk(ast.parse(plain)) if isinstance(node, ast.keyword) and node.arg == "json"]
    assert ast.literal_eval(posted.value) == asked
    assigned = {
        ast.unparse(node.targets[0]): node.value for node in ast.parse(client).body if isinstance(node, ast.Assign)
    }
    assert ast.literal_eval(assigned["wanted"]) == asked["selection"]
