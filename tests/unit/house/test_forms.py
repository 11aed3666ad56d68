"""Forms are made ready where their module is imported: msgspec crashes the process where two threads do so at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

BUILDS = """
import sys
import msgspec
from models.values.errors import DomainError
from {module} import {read} as read

built = []

def notice(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "get_class_annotations":
        built.append(1)

class New(msgspec.Struct):
    name: str

sys.setprofile(notice)
try:
    read({arguments})
except DomainError:
    pass
by_reading = len(built)
msgspec.json.Decoder(New)
sys.setprofile(None)
print(by_reading, len(built) - by_reading)
"""
BOOK = {
    "key": "b", "version": 1, "currency": "USD", "effective_from": "2020-01-01T00:00:00Z",
    "features": [{"key": "f", "name": "F", "kind": "switch", "tariff": {"model": "flat", "amount": "1"}}],
}  # fmt: skip
READINGS = [
    ("pricing_engine.price_book", "parse_price_book", repr(BOOK)),
    ("pricing_engine.price_sheet", "parse_price_sheet", "{}"),
    ("pricing_engine.negotiated_terms", "parse_term", "{}"),
    ("billing.metering.csv_mapping", "parse_mapping", "{}, 'mapping'"),
    ("billing.metering.parsing", "_readable_key", "b'{}'"),
]


@pytest.mark.parametrize(("module", "read", "arguments"), READINGS)
def test_the_first_document_is_read_with_a_form_that_is_ready(module: str, read: str, arguments: str) -> None:
    """What msgspec has to build is told by what it calls for it, as it does for a form that is new."""
    program = BUILDS.format(module=module, read=read, arguments=arguments)
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert told.split() == ["0", "1"]
