"""The public half of the key that seals documents: with it anybody checks a quote, offline."""

from __future__ import annotations

from typing import Literal, TypedDict

from litestar import Controller, get
from litestar.datastructures import State

from api.security import any_of
from api.services import Services
from billing.api_keys import Scope


class SigningKeyView(TypedDict):
    """A public key, as PEM: what `alacarte verify --key` takes."""

    algorithm: Literal["Ed25519"]
    public_key: str


class SigningKeyController(Controller):
    """What quotes, price books and price sheets are signed with."""

    path = "/v1/signing-key"
    tags = ("quotes",)

    @get("/", operation_id="ReadSigningKey", scopes=any_of(Scope.QUOTE, Scope.READ), sync_to_thread=False)
    def read(self, state: State) -> SigningKeyView:
        """Return the public key under which sealed documents verify."""
        services: Services = state.services
        return {"algorithm": "Ed25519", "public_key": services.signer.public_pem.decode()}
