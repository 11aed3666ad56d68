"""Checks every request and every response of the twin against Stripe's published OpenAPI description.

Unknown keys are refused at every depth, in both directions: that is what catches a field Stripe has dropped.
The description is a data file that stands beside the repository; without it the twin runs unchecked.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from tests.stripe_twin.form import coerce

DESCRIPTION = Path(__file__).resolve().parents[3] / "shared" / "stripe" / "openapi_subset.json"

_PLAIN_DECIMAL = r"^-?\d+(\.\d{1,12})?$"  # Stripe documents at most 12 places; we never send an exponent.
_VALIDATORS: dict[int, Any] = {}  # By identity of a schema of the description, which lives as long as the process.
_ADDED_PATHS = {
    # Not in the cut description, though its response schema is.
    "/v1/disputes/{dispute}": {
        "get": {
            "parameters": [{"in": "path", "name": "dispute", "required": True, "schema": {"type": "string"}}],
            "responses": {
                "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/dispute"}}}}
            },
        }
    },
}


@dataclass(slots=True)
class Operation:
    """One method of one path: its template and the schemas of what goes in and comes out."""

    name: str
    pattern: re.Pattern[str]
    request: dict[str, Any]
    response: dict[str, Any]


@dataclass(slots=True)
class SchemaCheck:
    """Validates traffic and remembers each violation; `violations` must stay empty."""

    operations: list[Operation]
    components: dict[str, Any]
    violations: list[str] = field(default_factory=list)
    checked: int = 0

    def request(self, method: str, path: str, tree: dict[str, Any]) -> str | None:
        """Check the parameters of a call; return and remember what is wrong with them."""
        operation = self._find(method, path)
        if operation is None:
            return self._remember(f"{method} {path}: no such operation in the description")
        return self._check(f"{operation.name} request", operation.request, coerce(tree, operation.request))

    def response(self, method: str, path: str, status: int, body: Any) -> str | None:
        """Check an answer, an error included."""
        operation = self._find(method, path)
        if operation is None:
            return None
        schema = operation.response if status < 400 else self._error_schema()
        return self._check(f"{operation.name} response {status}", schema, body)

    def object(self, kind: str, body: Any) -> str | None:
        """Check an object that travels inside an event."""
        schema = self.components["schemas"].get(kind)
        return None if schema is None else self._check(f"event object {kind}", schema, body)

    def _find(self, method: str, path: str) -> Operation | None:
        for operation in self.operations:
            if operation.name.startswith(f"{method} ") and operation.pattern.fullmatch(path):
                return operation
        return None

    def _error_schema(self) -> dict[str, Any]:
        return self.components["schemas"]["error"]

    def _check(self, what: str, schema: dict[str, Any], body: Any) -> str | None:
        self.checked += 1
        validator = _VALIDATORS.get(id(schema))
        if validator is None:
            validator = jsonschema_rs.Draft4Validator({**schema, "components": self.components})
            _VALIDATORS[id(schema)] = validator
        try:
            validator.validate(body)
        except jsonschema_rs.ValidationError as error:
            return self._remember(f"{what}: {'/'.join(map(str, error.instance_path))}: {error.message[:300]}")
        return None

    def _remember(self, violation: str) -> str:
        self.violations.append(violation)
        return violation


def schema_check() -> SchemaCheck | None:
    """Return a fresh check over the published description, or None where that file is absent."""
    if not DESCRIPTION.exists():
        return None
    operations, components = _description()
    return SchemaCheck(operations, components)


@cache
def _description() -> tuple[list[Operation], dict[str, Any]]:
    document = json.loads(DESCRIPTION.read_bytes())
    components = {"schemas": {name: _strict(schema) for name, schema in document["components"]["schemas"].items()}}
    operations = [
        _operation(method, path, operation)
        for path, methods in (document["paths"] | _ADDED_PATHS).items()
        for method, operation in methods.items()
    ]
    # `/v1/customers/search` must not be taken for `/v1/customers/{customer}`.
    operations.sort(key=lambda operation: operation.name.count("{"))
    return operations, components


def _operation(method: str, path: str, operation: dict[str, Any]) -> Operation:
    parts = re.split(r"\{[^}]+\}", path)
    pattern = re.compile("[^/]+".join(re.escape(part) for part in parts))
    response = _strict(operation["responses"]["200"]["content"]["application/json"]["schema"])
    return Operation(f"{method.upper()} {path}", pattern, _request_schema(method, operation), response)


def _request_schema(method: str, operation: dict[str, Any]) -> dict[str, Any]:
    if method == "post" and "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        return _strict(content["schema"])
    queries = [parameter for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
    return _strict(
        {
            "type": "object",
            "properties": {query["name"]: query["schema"] for query in queries},
            "required": [query["name"] for query in queries if query.get("required")],
        }
    )


def _strict(node: Any) -> Any:
    """Turn an OpenAPI 3.0 schema into JSON Schema draft 4 that refuses unknown keys at every depth."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":  # Names here are data: one of them may be called "title" or "format".
            strict[key] = {name: _strict(schema) for name, schema in value.items()}
        elif not key.startswith("x-") and key not in {"title", "nullable", "format"}:
            strict[key] = _strict(value)
    if "properties" in strict and strict.get("type") == "object":
        strict.setdefault("additionalProperties", False)
    if not strict.get("required", True):
        del strict["required"]  # Draft 4 wants at least one.
    if node.get("format") == "decimal":
        strict["pattern"] = _PLAIN_DECIMAL
    return {"anyOf": [strict, {"type": "null"}]} if node.get("nullable") is True else strict
