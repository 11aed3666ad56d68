"""Sealed usage: each event once, in files that come out the same however often and after whatever they are made."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from billing import whole_files
from billing.database import Database
from billing.sealed_usage import folder as sealed_folder
from billing.sealed_usage import sealing
from billing.sealed_usage.folder import SealFolder
from billing.sealed_usage.manifest import Manifest, check_chain
from billing.sealed_usage.sealed_events import EventRow, to_parquet
from models.values.errors import ConflictError, InvalidValueError, NotFoundError, RuleBrokenError
from models.values.ids import bucket_of
from pricing_engine.sealing import SealBrokenError, new_signer
from tests.billing_story import Company, at, event
from tests.integration.sealed_usage.sealed_company import (
    KEYS,
    files,
    founded,
    january_and_february,
    reopened,
    rerated,
    rows,
    sealed,
)
from tests.quote_facts import SIGNER

KILLED = """
import os, signal, sys
from pathlib import Path
from billing import whole_files
from billing.database import Database
from billing.sealed_usage import folder, sealing
from pricing_engine.sealing import Signer
left = int(sys.argv[3])

def write(path, chunks):
    global left
    left -= 1
    if left < 0:
        path.with_name(f".{path.name}.part").write_bytes(b"".join(chunks)[:100])
        os.kill(os.getpid(), signal.SIGKILL)
    whole_files.write_whole(path, chunks)

sealing.write_whole = folder.write_whole = write
signer = Signer.from_pem(Path(sys.argv[4]).read_bytes())
sealing.seal_usage(Database(sys.argv[1]), "default", folder.SealFolder(Path(sys.argv[2]), "default"), signer)
"""


class StoppedError(Exception):
    """Sealing was stopped here."""


def read(root: Path, name: str) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted((root / "default" / name).glob("*.parquet"))])


def test_both_databases_seal_the_same_bytes_and_again_does_nothing(
    told: Company, root: Path, expected: dict[str, bytes]
) -> None:
    assert [(each.manifest.run, each.is_new) for each in sealed(told, root)] == [
        ("2026-01/1", True),
        ("2026-02/1", True),
    ]
    assert files(root) == expected
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert [each.is_new for each in sealed(told, root)] == [False, False]
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_every_event_lies_in_one_seal_in_its_bucket_and_whole(told: Company, root: Path) -> None:
    seals = {each.manifest.run: each.manifest for each in sealed(told, root)}
    january, february = read(root, "2026-01.1"), read(root, "2026-02.1")
    assert (january.height, february.height) == (seals["2026-01/1"].events, seals["2026-02/1"].events) == (25, 12)
    stored = rows(told, "select source, event_id, customer, bucket, data, body_hash from usage_event")
    columns = ["source", "event_id", "customer", "bucket", "data", "body_hash"]
    assert sorted(pl.concat([january, february]).select(columns).rows()) == sorted(
        (*row[:5], bytes(row[5])) for row in stored
    )
    assert {"elate", "elate-g", "ea2-again"} <= set(february["event_id"])  # Late: after the seal of what they change.
    for file in seals["2026-01/1"].files:
        frame = pl.read_parquet(root / "default" / "2026-01.1" / file.name)
        assert {bucket_of("default", customer) for customer in frame["customer"]} == {file.bucket}
        assert frame.equals(frame.sort("customer", "event_type", "key_high", "key_low"))


def test_a_kill_in_the_middle_leaves_nothing_that_the_next_run_does_not_put_right(
    told: Company, told_url: str, root: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    (tmp_path / "key.pem").write_bytes(SIGNER.private_pem())
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, told_url, str(root), "3", str(tmp_path / "key.pem")],
        check=False, capture_output=True,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    half = files(root)
    assert any(name.endswith(".part") for name in half)
    assert not any(name.endswith("manifest.json") for name in half)
    with pytest.raises(NotFoundError):
        rerated(told, root, "2026-01")
    sealed(told, root)
    assert files(root) == expected


def test_stopped_at_the_first_a_middle_or_the_last_write_it_comes_out_the_same(
    told: Company, root: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stop in (0, len(expected) // 2, len(expected) - 1):
        left = iter(range(stop))

        def write(path: Path, chunks: list[bytes], left=left) -> None:  # noqa: ANN001
            if next(left, None) is None:
                raise StoppedError
            whole_files.write_whole(path, chunks)

        monkeypatch.setattr(sealing, "write_whole", write)
        monkeypatch.setattr(sealed_folder, "write_whole", write)
        shutil.rmtree(root, ignore_errors=True)
        with pytest.raises(StoppedError):
            sealed(told, root)
        monkeypatch.undo()
        sealed(told, root)
        assert files(root) == expected


def test_two_at_once_make_one_seal(told: Company, root: Path, expected: dict[str, bytes]) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [*pool.map(lambda _: sealed(told, root), range(2))]
    assert sorted(each.is_new for found in both for each in found) == [False, False, True, True]
    assert files(root) == expected


def test_a_flipped_bit_anywhere_is_named(told: Company, root: Path) -> None:
    sealed(told, root)
    folder = SealFolder(root, "default")
    chain = folder.chain(KEYS)
    assert [*folder.broken(chain)] == []
    for path in sorted(root.rglob("*.parquet")):
        whole = path.read_bytes()
        path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
        assert [error.field for error in folder.broken(chain)] == [str(path)]
        path.write_bytes(whole)
    manifest = root / "default" / "2026-01.1" / "manifest.json"
    whole = manifest.read_bytes()
    for change in (whole.replace(b'"events":25', b'"events":24'), whole[:-20]):
        manifest.write_bytes(change)
        with pytest.raises(SealBrokenError) as refused:
            rerated(told, root, "2026-02")
        assert refused.value.field == str(manifest)
    manifest.unlink()
    with pytest.raises(SealBrokenError, match="is missing or another one"):
        rerated(told, root, "2026-02")
    manifest.write_bytes(whole)
    first = next(iter(sorted(root.rglob("*.parquet"))))
    first.unlink()
    assert [error.field for error in folder.broken(chain)] == [str(first)]


def test_a_manifest_by_a_stranger_is_refused_and_a_key_that_changed_is_told(told: Company, root: Path) -> None:
    sealed(told, root, "2026-01")
    folder, other = SealFolder(root, "default"), new_signer()
    with pytest.raises(SealBrokenError, match="by another key"):
        sealing.seal_usage(told.database, "default", folder, other)
    found = sealing.seal_usage(told.database, "default", folder, other, public_keys=KEYS)
    assert [each.is_new for each in found] == [False, True]
    assert len(folder.chain((other.public_pem, *KEYS))) == 2


def test_month_after_month_each_event_is_sealed_once(database: Database, root: Path) -> None:
    """Reopened, closed again, with a machine whose clock runs behind: what came between lies in the next seal."""
    company = founded(database)
    with pytest.raises(RuleBrokenError) as refused:
        sealed(company, root)
    assert refused.value.code == "period_not_closed"
    january_and_february(company)
    [january] = sealed(company, root, "2026-01")
    with pytest.raises(RuleBrokenError):
        sealed(company, root, "2026-03")
    [_, february] = sealed(company, root)
    assert (january.manifest.run, february.manifest.before) == ("2026-01/1", january.manifest.hash)
    reopened(company)
    [*_, again] = sealed(company, root)
    assert (again.manifest.run, again.is_new, again.manifest.events) == ("2026-02/2", True, 1)
    assert rerated(company, root, "2026-01").is_equal
    assert rerated(company, root, "2026-02").is_equal
    company.ingest([event("behind", "visitor", "2026-01-11T10:00")], "2026-02-27")
    company.close("2026-03", "2026-04-01T12:00")
    [*_, march] = sealed(company, root)
    assert (march.manifest.run, march.manifest.events) == ("2026-03/1", 1)
    with database.writing("default") as uow:
        uow.connection.exec_driver_sql(
            "insert into usage_event select tenant, source, 'slipped', event_type, customer, bucket, occurred_at,"
            " recorded_at, data, body_hash, null, null, cancels from usage_event where event_id = 'ea0'"
        )
    company.close("2026-04", "2026-05-01T12:00")
    with pytest.raises(ConflictError) as differs:
        sealed(company, root)
    assert differs.value.code == "sealed_usage_differs"


def test_tenants_are_apart(told: Company, root: Path) -> None:
    other = Company(told.database, "other")
    other.found("acme")
    other.subscribe("acme", other.publish(), {"tokens": "1"})
    other.ingest([event("a0", "acme", "2026-01-15T10:00", 3)], "2026-01-20")
    other.close("2026-01", "2026-02-01T12:00")
    sealed(told, root)
    [only] = sealed(other, root)
    assert only.manifest.events == 1
    assert rerated(other, root, "2026-01").is_equal
    shutil.rmtree(root / "other")
    shutil.copytree(root / "default", root / "other")
    with pytest.raises(SealBrokenError, match="is of another tenant"):
        rerated(other, root, "2026-01")
    with pytest.raises(InvalidValueError):
        SealFolder(root, "../default")


def test_a_bucket_is_the_same_file_in_whatever_order_its_rows_come() -> None:
    ids = [f"e{i}" for i in range(300)]
    some = [EventRow(f"c{i % 7}", "t", "s", each, i, i, "{}", b"\x00", None, None, False) for i, each in enumerate(ids)]
    whole = to_parquet("default", 3, some)
    assert to_parquet("default", 3, some[::-1]) == whole
    assert json.loads(pl.read_parquet(io.BytesIO(whole))["data"][0]) == {}


def test_a_chain_in_which_a_seal_is_another_one_or_missing_is_refused() -> None:
    first = Manifest("default", "2026-01", 1, None, at("2026-02-01"), "", (), hash="a")
    second = Manifest("default", "2026-02", 1, at("2026-02-01"), at("2026-03-01"), "a", (), hash="b")
    third = Manifest("default", "2026-03", 1, at("2026-03-01"), at("2026-04-01"), "b", (), hash="c")
    check_chain([first, second, third], "default")
    for broken in (
        [second, third],
        [first, third],
        [first, replace(second, before="c"), third],
        [first, replace(second, known_after=at("2026-02-02")), third],
        [replace(first, before="a"), second],
        [replace(first, known_after=at("2026-01-01")), second],
    ):
        with pytest.raises(SealBrokenError, match="a seal is missing or another one"):
            check_chain(broken, "default")
