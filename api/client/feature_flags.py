"""An OpenFeature provider over entitlements: a flag is a feature, the targeting key is the customer.

boolean: may the customer use it. integer, float: what is left of it, 0 without a right to it; where nothing limits it
the caller's default, with the reason DEFAULT. object: the whole entitlement. Needs the extra `openfeature`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    InvalidContextError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from api.client.calls import check_entitlement
from api.client.documents import Entitlement
from api.client.errors import ClientError, NotFoundError
from api.client.http import Client

Context = EvaluationContext | None
Objects = Sequence[FlagValueType] | Mapping[str, FlagValueType]


class EntitlementProvider(AbstractProvider):
    """Resolves flags by asking the API each time; the client stays its caller's, who closes it."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def get_metadata(self) -> Metadata:
        """Name the provider."""
        return Metadata(name="alacarte")

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,  # noqa: FBT001 - as the interface has it
        evaluation_context: Context = None,
    ) -> FlagResolutionDetails[bool]:
        """Say whether the customer may use the feature."""
        found = self._entitlement(flag_key, evaluation_context)
        return _details(found, found.entitled)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: Context = None
    ) -> FlagResolutionDetails[int]:
        """Say how many whole units are left."""
        found = self._counted(flag_key, evaluation_context)
        if found.entitled and found.left is None:
            return _details(found, default_value, Reason.DEFAULT)
        return _details(found, int(found.left or 0))

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: Context = None
    ) -> FlagResolutionDetails[float]:
        """Say how many units are left."""
        found = self._counted(flag_key, evaluation_context)
        if found.entitled and found.left is None:
            return _details(found, default_value, Reason.DEFAULT)
        return _details(found, float(found.left or 0))

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: Context = None
    ) -> FlagResolutionDetails[str]:
        """Refuse: no feature is a text."""
        raise TypeMismatchError(f"{flag_key} is a feature: ask for a boolean, a number or an object")

    def resolve_object_details(
        self, flag_key: str, default_value: Objects, evaluation_context: Context = None
    ) -> FlagResolutionDetails[Objects]:
        """Return the entitlement as the API has it: quantities are decimal strings."""
        found = self._entitlement(flag_key, evaluation_context)
        return _details(found, msgspec.to_builtins(found))

    async def resolve_boolean_details_async(
        self,
        flag_key: str,
        default_value: bool,  # noqa: FBT001 - as the interface has it
        evaluation_context: Context = None,
    ) -> FlagResolutionDetails[bool]:
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.resolve_boolean_details, flag_key, default_value, evaluation_context)

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: Context = None
    ) -> FlagResolutionDetails[int]:
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.resolve_integer_details, flag_key, default_value, evaluation_context)

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: Context = None
    ) -> FlagResolutionDetails[float]:
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.resolve_float_details, flag_key, default_value, evaluation_context)

    async def resolve_object_details_async(
        self, flag_key: str, default_value: Objects, evaluation_context: Context = None
    ) -> FlagResolutionDetails[Objects]:
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.resolve_object_details, flag_key, default_value, evaluation_context)

    def _counted(self, feature: str, context: Context) -> Entitlement:
        found = self._entitlement(feature, context)
        if found.kind == "switch":
            raise TypeMismatchError(f"{feature} is a switch: ask for a boolean")
        return found

    def _entitlement(self, feature: str, context: Context) -> Entitlement:
        customer = None if context is None else context.targeting_key
        if not customer:
            raise TargetingKeyMissingError("the targeting key is the customer's key")
        try:
            return self._client.send(check_entitlement(customer, feature))
        except NotFoundError as error:
            if error.code == "unknown_feature":
                raise FlagNotFoundError(error.detail) from error
            raise InvalidContextError(error.detail) from error
        except ClientError as error:
            raise GeneralError(str(error)) from error


def _details(found: Entitlement, value: Any, reason: Reason = Reason.TARGETING_MATCH) -> FlagResolutionDetails[Any]:  # noqa: ANN401
    """Return a resolution; its variant says why, its metadata what stands behind it."""
    known = {name: value for name, value in msgspec.to_builtins(found).items() if isinstance(value, str)}
    return FlagResolutionDetails(value=value, reason=reason, variant=found.reason, flag_metadata=known)
