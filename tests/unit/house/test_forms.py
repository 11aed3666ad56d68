"""Forms are made ready before threads read them: msgspec crashes the process where two threads do so at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

READ_AT_ONCE = """
import sys
import threading
from {module} import {read} as read

def first():
    together.wait()
    try:
        read({arguments})
    except Exception:
        pass

sys.setswitchinterval(1e-6)
together = threading.Barrier(8)
threads = [threading.Thread(target=first) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
BOOK = {
    "key": "b", "version": 1, "currency": "USD", "effective_from": "2020-01-01T00:00:00Z",
    "features": [
        {"key": "f", "name": "F", "kind": "switch", "tariff": {"model": "flat", "amount": "1"}}
    ],
}  # fmt: skip
READINGS = [
    ("pricing_engine.price_book", "parse_price_book", repr(BOOK)),
    ("pricing_engine.price_sheet", "parse_price_sheet", "{}"),
    ("pricing_engine.negotiated_terms", "parse_term", "{}"),
    ("billing.metering.csv_mapping", "parse_mapping", "{}, 'mapping'"),
]
PROCESSES = 5
"""One after the other: of those in which eight threads made a price book's form ready at once most crashed."""


@pytest.mark.parametrize(("module", "read", "arguments"), READINGS)
def test_eight_threads_read_their_first_document_at_once(module: str, read: str, arguments: str) -> None:
    program = READ_AT_ONCE.format(module=module, read=read, arguments=arguments)
    ended = [subprocess.run([sys.executable, "-c", program], check=False).returncode for _ in range(PROCESSES)]
    assert ended == [0] * PROCESSES
