"""The manifest of a seal: which events it holds, in which files, by which hashes. Pure.

The seals of a tenant form a chain, in the order in which months were closed: each holds what its close knew and the
one before did not, and names that one's manifest by its hash. So every event lies in exactly one seal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.column_types import utc_text
from models.values.canonical_json import Json
from models.values.errors import InvalidValueError
from pricing_engine.sealing import (
    Disclosure,
    Opened,
    SealBrokenError,
    Section,
    Signer,
    open_sealed,
    seal,
    verify_signature,
)

KIND = "sealed_usage"
_FORMAT = 1
_SECTION = "manifest"


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One bucket's events: where they lie, how many, and the SHA-256 of the file."""

    bucket: int
    name: str
    events: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a seal holds: the events recorded after `known_after` (None: from the first one) and up to `known_at`.

    `period` and `attempt` name the close. `before`: hash of the manifest before, empty for the first one. `hash`: its
    own, empty until it is sealed.
    """

    tenant: str
    period: str
    attempt: int
    known_after: datetime | None
    known_at: datetime
    before: str
    files: tuple[SealedFile, ...]
    hash: str = ""

    @property
    def run(self) -> str:
        """The close whose knowledge it holds: 2026-01/1."""
        return f"{self.period}/{self.attempt}"

    @property
    def folder(self) -> str:
        """The name of the folder it lies in."""
        return folder_of(self.period, self.attempt)

    @property
    def events(self) -> int:
        """How many events it holds."""
        return sum(file.events for file in self.files)


def folder_of(period: str, attempt: int) -> str:
    """Return the name of the folder of a close's events: 2026-01.1."""
    return f"{period}.{attempt}"


def sealed_manifest(manifest: Manifest, signer: Signer) -> dict[str, Any]:
    """Return the signed document of a manifest; the same manifest and key give the same bytes."""
    content: Json = {
        "format": _FORMAT,
        "tenant": manifest.tenant,
        "period": manifest.period,
        "attempt": manifest.attempt,
        "known_after": None if manifest.known_after is None else utc_text(manifest.known_after),
        "known_at": utc_text(manifest.known_at),
        "before": manifest.before,
        "events": manifest.events,
        "files": [
            {"bucket": each.bucket, "name": each.name, "events": each.events, "size": each.size, "sha256": each.sha256}
            for each in manifest.files
        ],
    }
    return seal(KIND, [Section(_SECTION, Disclosure.AUDITOR, content)], signer.salt_for(KIND, content), signer)


def open_manifest(document: object, public_keys: Sequence[bytes]) -> Manifest:
    """Read a manifest that one of `public_keys` signed. Raises SealBrokenError."""
    opened = open_sealed(document, KIND)
    _check_signature(document, public_keys)
    return _read(opened)


def check_chain(chain: Sequence[Manifest], tenant: str) -> None:
    """Check that manifests follow each other without a gap. Raises SealBrokenError naming the first that does not."""
    before: Manifest | None = None
    for manifest in chain:
        expected = ("", None) if before is None else (before.hash, before.known_at)
        if manifest.tenant != tenant:
            raise SealBrokenError("is of another tenant", field=manifest.run, value=manifest.tenant)
        if (manifest.before, manifest.known_after) != expected:
            follows = "be the first" if before is None else f"follow {before.run}"
            raise SealBrokenError(f"does not {follows}: a seal is missing or another one", field=manifest.run)
        before = manifest


def _check_signature(document: object, public_keys: Sequence[bytes]) -> None:
    refusal = SealBrokenError("there is no key to check it with", field="signature")
    for key in public_keys:
        try:
            verify_signature(document, key)
        except SealBrokenError as error:
            refusal = error
        else:
            return
    raise refusal


def _read(opened: Opened) -> Manifest:
    content: Mapping[str, Any] = opened.content(_SECTION)
    if content["format"] != _FORMAT:
        raise InvalidValueError("is a format this version does not read", field="format", value=content["format"])
    known_after = content["known_after"]
    return Manifest(
        tenant=content["tenant"],
        period=content["period"],
        attempt=content["attempt"],
        known_after=None if known_after is None else datetime.fromisoformat(known_after),
        known_at=datetime.fromisoformat(content["known_at"]),
        before=content["before"],
        files=tuple(SealedFile(**each) for each in content["files"]),
        hash=opened.hash,
    )
