"""How to ask for what the checkout page shows, as text that runs as it is pasted."""

from __future__ import annotations

import json
import shlex
from typing import Any

from api.console.forms import text
from api.requests import decode_strictly

KEY_VARIABLE = "ALACARTE_KEY"
_CURL = """\
curl {address}/v1/quotes/preview \\
  -H {bearer} \\
  -H 'Content-Type: application/json' \\
  -d {body}"""
_PYTHON = """\
{imports}import httpx

key = {key}
answer = httpx.post(
    "{address}/v1/quotes/preview",
    headers={{"Authorization": "Bearer " + key}},
    json={asked},
)
answer.raise_for_status()
print(answer.json()["rounded_total"])"""
_CLIENT = """\
{imports}from api.client.calls import preview_quote
from api.client.http import Client

key = {key}
wanted = {selection}
with Client("{address}", key) as client:
    preview = client.send(preview_quote({customer}, wanted))
    print(preview.rounded_total)"""


def samples(asked: dict[str, Any], address: str, token: str | None) -> dict[str, str]:
    """Return by title how to ask for a price; without a `token` the key is read from the environment."""
    filled = {
        "address": address,
        "bearer": f'"Authorization: Bearer ${KEY_VARIABLE}"' if token is None else f"'Authorization: Bearer {token}'",
        "body": shlex.quote(json.dumps(asked, indent=2, ensure_ascii=False)),
        "imports": "import os\n\n" if token is None else "",
        "key": f'os.environ["{KEY_VARIABLE}"]' if token is None else _python(token),
        "asked": _python(asked, 4),
        "customer": _python(asked.get("customer", "")),
        "selection": _python(asked.get("selection", {})),
    }
    titled = {"curl": _CURL, "Python": _PYTHON, "Python, Alacarte": _CLIENT}
    return {title: sample.format_map(filled) for title, sample in titled.items()}


def asked_again(form: dict[str, Any]) -> dict[str, Any]:
    """Return what a form carried along to be asked for. Raises ClientException where that is none of ours."""
    asked = decode_strictly(text(form, "asked").encode())
    return asked if isinstance(asked, dict) else {}


def _python(value: object, indent: int = 0) -> str:
    """Write JSON as a Python literal."""
    if isinstance(value, dict) and value:
        room = " " * (indent + 4)
        inside = "".join(f"{room}{_python(key)}: {_python(each, indent + 4)},\n" for key, each in value.items())
        return f"{{\n{inside}{' ' * indent}}}"
    if isinstance(value, list):
        return f"[{', '.join(_python(each, indent) for each in value)}]"
    return repr(value) if isinstance(value, bool | None) or value == {} else json.dumps(value, ensure_ascii=False)
