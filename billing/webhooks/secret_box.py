"""Webhook secrets at rest: AES-256-GCM under a key derived from the signing key, bound to the endpoint they are for.

They have to be read back to sign, so a hash will not do. `key_id` names the signing key; under another one they are
unreadable, which is said, and a rotation makes a new secret.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.values.errors import RuleBrokenError
from pricing_engine.sealing import Signer

_NONCE_BYTES = 12


class SecretBox:
    """Encrypts and decrypts secrets; each box text is a fresh nonce followed by the cipher text."""

    def __init__(self, signer: Signer) -> None:
        self.key_id = signer.key_id
        self._cipher = AESGCM(signer.secret("webhook secrets"))

    def encrypt(self, secret: bytes, bound_to: str) -> bytes:
        """Encrypt a secret for `bound_to`, without which it cannot be read."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, bound_to.encode())

    def decrypt(self, key_id: str, encrypted: bytes, bound_to: str) -> bytes:
        """Return the secret. Raises RuleBrokenError where it was encrypted under another key, or tampered with."""
        try:
            if key_id != self.key_id:
                raise InvalidTag  # noqa: TRY301 - one answer to both
            return self._cipher.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], bound_to.encode())
        except InvalidTag as error:
            raise RuleBrokenError(
                "cannot be read with this signing key; rotate it",
                field="webhook_secret",
                value=key_id,
                code="secret_unreadable",
            ) from error
