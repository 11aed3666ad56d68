"""The signed head: how far the ledger goes and by which hash, signed, to be kept where the ledger is not.

Whoever cuts journals off the end, or rewrites the chain from some point on, can make the rest verify; not against
a head kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from billing import ledger
from billing.repositories import journals
from billing.unit_of_work import UnitOfWork
from billing.verification import Check, Finding
from models.column_types import utc_text
from models.values.canonical_json import Json
from pricing_engine.sealing import Disclosure, Section, Signer, open_sealed, seal, verify_signature

KIND = "ledger_head"


def signed_head(uow: UnitOfWork, signer: Signer, *, at: datetime) -> dict[str, Any]:
    """Return the sealed and signed head of the tenant's ledger."""
    head = ledger.head(uow)
    content: Json = {"tenant": uow.tenant, "journal": str(head.journal), "hash": head.hash.hex(), "at": utc_text(at)}
    return seal(KIND, [Section("head", Disclosure.BUYER, content)], signer.salt_for(KIND, content), signer)


def check_against(document: Mapping[str, Any], public_pem: bytes) -> Check:
    """Return the check that a ledger still holds the journals up to a signed head.

    Raises SealBrokenError where the head is not what this key signed.
    """
    content = open_sealed(document, KIND).content("head")
    verify_signature(document, public_pem)

    def signed_head_is_kept(uow: UnitOfWork) -> Iterator[Finding]:
        number = int(content["journal"])
        if content["tenant"] != uow.tenant:
            yield Finding("signed_head", "head", f"is of tenant {content['tenant']}")
        elif number and journals.hash_of(uow, number) != bytes.fromhex(content["hash"]):
            yield Finding("signed_head", f"journal {number}", f"is not the one signed at {content['at']}")

    return signed_head_is_kept
