"""Where sealed usage lies: <root>/<tenant>/<period>.<attempt>/, one Parquet file a bucket and a manifest.

The manifest is written last: a folder without one is a seal that was interrupted, and is begun again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from billing.sealed_usage.manifest import Manifest, SealedFile, check_chain, folder_of, open_manifest
from billing.whole_files import write_whole
from models.values.canonical_json import canonical_bytes
from models.values.errors import DomainError, NotFoundError
from models.values.ids import check_key
from pricing_engine.sealing import SealBrokenError

_MANIFEST = "manifest.json"
_STAGE = ".stage"
_LOCK = ".lock"


class SealFolder:
    """The seals of one tenant under a root folder."""

    def __init__(self, root: Path, tenant: str) -> None:
        """Name the folder after the tenant. Raises InvalidValueError for a tenant that is no key."""
        self.tenant = tenant
        self.path = root / check_key(tenant, "tenant")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who seals here; whoever else wants to waits. A process that dies lets go."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """Open an empty folder for what is only needed while sealing."""
        stage = self.path / _STAGE
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def begin(self, period: str, attempt: int) -> Path:
        """Return the folder of a new seal, without whatever an interrupted one left there."""
        folder = self.path / folder_of(period, attempt)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def finish(self, manifest: Manifest, document: dict[str, Any]) -> None:
        """Write the manifest: from now on the seal is there."""
        write_whole(self.path / manifest.folder / _MANIFEST, [canonical_bytes(document), b"\n"])

    def chain(self, public_keys: Sequence[bytes]) -> list[Manifest]:
        """Return every manifest, the oldest knowledge first. Raises SealBrokenError naming a file or a close."""
        found = [self._manifest(path, public_keys) for path in sorted(self.path.glob(f"*/{_MANIFEST}"))]
        found.sort(key=lambda manifest: manifest.known_at)
        check_chain(found, self.tenant)
        return found

    def until(self, period: str, attempt: int, public_keys: Sequence[bytes]) -> list[Manifest]:
        """Return the manifests up to that of a close. Raises NotFoundError where it is not sealed."""
        chain, wanted = self.chain(public_keys), f"{period}/{attempt}"
        for i, manifest in enumerate(chain, start=1):
            if manifest.run == wanted:
                return chain[:i]
        raise NotFoundError("is not sealed yet", field="period", value=wanted, code="usage_not_sealed")

    def read(self, manifest: Manifest, file: SealedFile) -> bytes:
        """Return one bucket's file. Raises SealBrokenError naming it where it is not what was sealed."""
        path = self.path / manifest.folder / file.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SealBrokenError(f"cannot be read: {error.strerror}", field=str(path)) from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise SealBrokenError("is not the file that was sealed", field=str(path))
        return content

    def broken(self, chain: Sequence[Manifest]) -> Iterator[SealBrokenError]:
        """Yield what is wrong with the files of some seals, one after the other."""
        for manifest in chain:
            for file in manifest.files:
                try:
                    self.read(manifest, file)
                except SealBrokenError as error:
                    yield error

    def _manifest(self, path: Path, public_keys: Sequence[bytes]) -> Manifest:
        try:
            manifest = open_manifest(json.loads(path.read_bytes()), public_keys)
        except ValueError as error:
            raise SealBrokenError("is not a manifest", field=str(path)) from error
        except DomainError as error:
            raise SealBrokenError(f"is not what was sealed ({error})", field=str(path)) from error
        if manifest.folder != path.parent.name:
            raise SealBrokenError(f"is the manifest of {manifest.folder}", field=str(path))
        return manifest
