"""Sealing: one hash over a document that survives redaction, and a signature over that hash.

A sealed document is a set of *sections*, each at a disclosure level. A section becomes a leaf

    SHA-256(0x00 || salt || canonical JSON of [kind, path, level, content])

with a salt of its own derived from the document's secret, so that a hidden cost cannot be guessed from its
hash. Leaves, sorted by path, form a Merkle tree with nodes SHA-256(0x01 || left || right), an odd node moving
up unchanged (RFC 6962). The root names the document. A copy for a reader keeps the leaf hash of what the
reader may not see: same root, same signature, still verifiable.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from models.values.canonical_json import Json, Record, canonical_bytes
from models.values.errors import DomainError, InvalidValueError

_SIGNED_PREFIX = b"alacarte.seal.v1\x00"
_SALT_BYTES = 16
_HASH_CHARS = 64


class SealBrokenError(DomainError):
    """A sealed document is not what was sealed; `field` names the section."""

    code = "seal_broken"


class Disclosure(StrEnum):
    """Who may see a section; each level includes those before it."""

    BUYER = "buyer"  # No cost.
    TRANSPARENT = "customer-transparent"  # Cost and margin shown.
    AUDITOR = "auditor"  # Everything.

    def may_see(self, section: Disclosure) -> bool:
        """Return whether a reader at this level sees a section of that level."""
        return _RANKS[self] >= _RANKS[section]


_RANKS = {level: rank for rank, level in enumerate(Disclosure)}


class Section(NamedTuple):
    """One leaf of a sealed document: an ASCII path such as `lines/cache/cost` and its content."""

    path: str
    level: Disclosure
    content: Json | Record


@dataclass(frozen=True, slots=True)
class Opened:
    """A sealed document whose hash has been verified: the visible sections by path, and the hidden paths."""

    kind: str
    hash: str
    sections: Mapping[str, Any]
    hidden: frozenset[str]

    def content(self, path: str) -> Any:  # noqa: ANN401
        """Return one visible section. Raises SealBrokenError where it is missing or hidden."""
        if path not in self.sections:
            raise SealBrokenError("section is missing or hidden at this disclosure level", field=path)
        return self.sections[path]


class Signer:
    """An Ed25519 private key; the public half verifies offline."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.key_id = _key_id(key.public_key())

    @classmethod
    def from_pem(cls, pem: bytes) -> Signer:
        """Read a private key. Raises InvalidValueError unless it is Ed25519."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidValueError("must be a PEM private key", field="signing_key") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidValueError("must be an Ed25519 key", field="signing_key")
        return cls(key)

    def secret(self, purpose: str) -> bytes:
        """Derive a secret for one purpose (salts, draws); it tells nothing of the key or of other secrets."""
        raw = self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return hmac.new(raw, purpose.encode(), hashlib.sha256).digest()

    def salt_for(self, kind: str, content: Json) -> bytes:
        """Return the salt of a document: the same content always gets the same one, nobody else can compute it."""
        return hmac.new(self.secret(f"salt:{kind}"), canonical_bytes(content), hashlib.sha256).digest()

    def private_pem(self) -> bytes:
        """Return the private key as unencrypted PEM; the caller keeps it secret."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, digest: bytes) -> Json:
        """Return the signature object over one document hash."""
        value = base64.b64encode(self._key.sign(_SIGNED_PREFIX + digest)).decode()
        return {"algorithm": "Ed25519", "key_id": self.key_id, "value": value}


def new_signer() -> Signer:
    """Return a signer with a fresh key."""
    return Signer(Ed25519PrivateKey.generate())


class _Written(NamedTuple):
    """A section as it was hashed: path and content as canonical JSON."""

    path: bytes
    level: Disclosure
    content: bytes
    salt: bytes
    leaf: bytes


class Sealed:
    """A document sealed under `kind`, each section written once: what any reader gets is put together from that.

    `salt`: secret of this document, at least 16 bytes; the same sections and salt give the same hash.
    Raises InvalidValueError for a short salt or a path that stands twice.
    """

    def __init__(self, kind: str, sections: Iterable[Section], salt: bytes, signer: Signer | None = None) -> None:
        if len(salt) < _SALT_BYTES:
            raise InvalidValueError(f"needs at least {_SALT_BYTES} bytes", field="salt")
        self._kind = canonical_bytes(kind)
        self._sections: list[_Written] = []
        before = None
        hash_of, written_path_of, own_kind = hashlib.sha256, _written_path, self._kind
        for path, level, content in sorted(sections, key=itemgetter(0)):
            if path == before:
                raise InvalidValueError("section stands twice", field="path", value=path)
            before = path
            raw_path, written_path = written_path_of(path)
            own_salt = hash_of(salt + raw_path).digest()[:_SALT_BYTES]
            written = canonical_bytes(content)
            leaf = _leaf(own_kind, written_path, level, written, own_salt)
            self._sections.append(_Written(written_path, level, written, own_salt, leaf))
        root = _merkle_root([each.leaf for each in self._sections])
        self.hash = root.hex()
        self._signature = b"" if signer is None else b',"signature":' + canonical_bytes(signer.sign(root))

    def text(self, level: Disclosure) -> bytes:
        """Return the canonical JSON of the copy for readers at `level`."""
        sections = b",".join(
            [
                b'%b:{"content":%b,"level":"%b","salt":"%b"}' % (path, content, own_level.encode(), salt.hex().encode())
                if level.may_see(own_level)
                else b'%b:{"leaf":"%b"}' % (path, leaf.hex().encode())
                for path, own_level, content, salt, leaf in self._sections
            ]
        )
        head = b'{"hash":"%b","kind":%b,"sections":{' % (self.hash.encode(), self._kind)
        return head + sections + b"}" + self._signature + b"}"


def seal(kind: str, sections: Iterable[Section], salt: bytes, signer: Signer | None = None) -> dict[str, Any]:
    """Return the full document, at auditor level; see `Sealed`."""
    document: dict[str, Any] = json.loads(Sealed(kind, sections, salt, signer).text(Disclosure.AUDITOR))
    return document


def disclose(document: Mapping[str, Any], level: Disclosure) -> dict[str, Any]:
    """Return the copy of a sealed document for readers at `level`: same hash, same signature."""
    kind = document["kind"]
    sections: dict[str, Any] = {}
    for path, section in document["sections"].items():
        own_level = Disclosure(section["level"]) if "level" in section else None
        if own_level is None or level.may_see(own_level):
            sections[path] = section
        else:
            content, salt = canonical_bytes(section["content"]), bytes.fromhex(section["salt"])
            leaf = _leaf(canonical_bytes(kind), canonical_bytes(path), own_level, content, salt)
            sections[path] = {"leaf": leaf.hex()}
    return {**document, "sections": sections}


def open_sealed(document: object, kind: str) -> Opened:
    """Check the form and the hash of a sealed document, full or redacted.

    Raises SealBrokenError when anything is not what was sealed.
    """
    opened, stated = open_unchecked(document, kind)
    if opened.hash != stated:
        raise SealBrokenError(f"hash does not match: the sections give {opened.hash}", field="hash", value=stated)
    return opened


def open_unchecked(document: object, kind: str) -> tuple[Opened, object]:
    """Read a sealed document whose hash may be wrong: under the hash its sections give, and the stated one.

    Raises SealBrokenError where the form is not that of a sealed document.
    """
    if not isinstance(document, Mapping) or document.get("kind") != kind:
        raise SealBrokenError(f"must be a sealed document of kind {kind}", field="kind")
    sections = document.get("sections")
    if not isinstance(sections, Mapping) or not sections:
        raise SealBrokenError("must be an object of sections", field="sections")
    leaves: list[bytes] = []
    visible: dict[str, Any] = {}
    for path in sorted(sections):
        section = sections[path]
        if isinstance(section, Mapping) and section.keys() == {"leaf"}:
            leaves.append(_unhex(section["leaf"], _HASH_CHARS, path))
        elif isinstance(section, Mapping) and section.keys() == {"content", "level", "salt"}:
            visible[path] = section["content"]
            leaves.append(_visible_leaf(kind, path, section))
        else:
            raise SealBrokenError("section must have content, level and salt, or a leaf hash", field=path)
    root = _merkle_root(leaves).hex()
    return Opened(kind, root, visible, frozenset(sections.keys() - visible.keys())), document.get("hash")


def verify_signature(document: object, public_pem: bytes) -> None:
    """Raise SealBrokenError unless the signature over the document's hash is by this key."""
    try:
        key = load_pem_public_key(public_pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidValueError("must be a PEM public key", field="key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidValueError("must be an Ed25519 key", field="key")
    if not isinstance(document, Mapping):
        raise SealBrokenError("must be a sealed document", field="signature")
    signature = document.get("signature")
    if not isinstance(signature, Mapping) or not isinstance(signature.get("value"), str):
        raise SealBrokenError("document is not signed", field="signature")
    if signature.get("algorithm") != "Ed25519" or signature.get("key_id") != _key_id(key):
        raise SealBrokenError("is by another key", field="signature.key_id", value=signature.get("key_id"))
    digest = _unhex(document.get("hash"), _HASH_CHARS, "hash")
    try:
        key.verify(base64.b64decode(signature["value"], validate=True), _SIGNED_PREFIX + digest)
    except (InvalidSignature, binascii.Error) as error:
        raise SealBrokenError("signature does not match the hash", field="signature") from error


def _visible_leaf(kind: str, path: str, section: Mapping[str, Any]) -> bytes:
    try:
        level = Disclosure(section["level"])
    except ValueError as error:
        raise SealBrokenError("unknown disclosure level", field=path, value=section["level"]) from error
    salt = _unhex(section["salt"], 2 * _SALT_BYTES, path)
    try:
        return _leaf(canonical_bytes(kind), canonical_bytes(path), level, canonical_bytes(section["content"]), salt)
    except InvalidValueError as error:
        raise SealBrokenError(error.rule, field=path, value=error.value) from error


@lru_cache(maxsize=4096)
def _written_path(path: str) -> tuple[bytes, bytes]:
    """Return a path as UTF-8 and as canonical JSON. The documents of a catalog share their paths."""
    return path.encode(), canonical_bytes(path)


def _leaf(kind: bytes, path: bytes, level: Disclosure, content: bytes, salt: bytes) -> bytes:
    """Hash the canonical JSON of [kind, path, level, content], of which all but `level` is written already."""
    return hashlib.sha256(b'\x00%b[%b,%b,"%b",%b]' % (salt, kind, path, level.encode(), content)).digest()


def _merkle_root(leaves: list[bytes]) -> bytes:
    hash_of: Callable[[bytes], Any] = hashlib.sha256
    layer = leaves
    while len(layer) > 1:
        pairs = [hash_of(b"\x01" + layer[i] + layer[i + 1]).digest() for i in range(0, len(layer) - 1, 2)]
        layer = pairs + ([layer[-1]] if len(layer) % 2 else [])
    return layer[0]


def _unhex(text: object, chars: int, where: str) -> bytes:
    if not isinstance(text, str) or len(text) != chars or text != text.lower():
        raise SealBrokenError(f"must be {chars} lower-case hex digits", field=where, value=text)
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise SealBrokenError(f"must be {chars} lower-case hex digits", field=where, value=text) from error


def _key_id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
