"""The OpenAPI 3.1 document: routes and parameters as the framework knows them, bodies and answers as msgspec does.

A handler says in its options what the framework cannot see: `body=` where it reads the raw bytes itself, `answer=`
(or `answers={status: type}`) where it encodes them itself. Everything else is read from its signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.routes import HTTPRoute

from api.examples import LINKS, PLACES, Example, examples_of
from api.idempotency import FIELD
from api.problems import MEDIA_TYPE, Problem
from api.requests import API_VERSION
from api.security import needed_scopes
from models.values.ids import MAX_KEY_CHARS

SECURITY = "api_key"
_REFERENCE = "#/components/schemas/{name}"
_DESCRIPTION = (
    "Amounts and quantities are decimal strings, with their ISO 4217 currency beside them. Lists come in pages: send "
    "`next_cursor` back as `cursor`. A parameter that an operation does not declare is refused, as is one that comes "
    "twice. A POST that makes or moves quotes or money needs an `Idempotency-Key`: the same "
    "request under it again gets the same answer and has no second effect. Errors are `application/problem+json` "
    "(RFC 9457) with a stable `code` and the `request_id`."
)
_PROBLEMS = {
    400: "Malformed: not JSON; a field or parameter of the wrong type, unknown, missing, or sent twice.",
    401: "No key, or one that is unknown, revoked or expired.",
    403: "The scopes of the key do not reach.",
    404: "There is no such thing for this tenant.",
    409: "Contradicts what is recorded, or the first request under the Idempotency-Key still runs.",
    412: "The document was changed since it was read.",
    413: "The body is too large.",
    415: "The body is not of a media type that is read here.",
    422: "Well formed, refused by a rule; `code` names it.",
    428: "Needs `If-Match`: read the document first.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "Too busy just now, shutting down, or not answered in time: send the same again.",
}
_ON_DRAFTS_ONLY = {412, 428}
_ANY_REVISION = "*"


class ApiDocument(JsonRenderPlugin):
    """Serves the document, completed once."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json")
        self._encoded: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the whole document as JSON."""
        if self._encoded is None:
            self._encoded = msgspec.json.encode(complete(openapi_schema, request.app))
        return self._encoded


def openapi_config() -> OpenAPIConfig:
    """Return what the framework needs to know: every page that it ships loads its scripts from another host."""
    key = SecurityScheme(type="http", scheme="bearer", description="An API key, `ala_<environment>_...`.")
    return OpenAPIConfig(
        title="Alacarte",
        version=API_VERSION,
        description=_DESCRIPTION,
        path="/openapi",
        components=Components(security_schemes={SECURITY: key}),
        use_handler_docstrings=True,
        render_plugins=[ApiDocument()],
    )


def operations(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    """Yield path, method and handler of every documented route."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            if handler.operation_id is None or not handler.include_in_schema:
                continue
            for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
                yield route.path_format, method, handler


def complete(document: Mapping[str, Any], app: Litestar) -> dict[str, Any]:
    """Return the document with the bodies, answers, problems, examples and links that the framework does not know."""
    known = list(operations(app))
    types = {body_type(handler) for *_, handler in known} | {
        answer for *_, handler in known for answer in _answers(handler).values()
    }
    named = [Problem, *sorted((each for each in types if each is not None), key=str)]
    schemas, components = msgspec.json.schema_components(named, ref_template=_REFERENCE)
    schema_of = dict(zip(named, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for path, method, handler in known:
        operation = dict(document["paths"][path][method.lower()])
        _complete_operation(operation, handler, schema_of)
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        **document,
        "paths": {path: paths[path] for path in sorted(paths)},
        "tags": [Tag(name).to_schema() for name in sorted({tag for *_, each in known for tag in each.tags or ()})],
        "components": {
            **document["components"],
            "schemas": components,
            "headers": _HEADERS,
            "responses": {str(status): _problem(text, schema_of[Problem]) for status, text in _PROBLEMS.items()},
        },
    }


def body_type(handler: HTTPRouteHandler) -> Any:  # noqa: ANN401
    """Return the type of a handler's JSON body, None where it takes none."""
    if "body" in handler.opt:
        return handler.opt["body"]
    field = handler.parsed_data_field
    return None if field is None else field.annotation


def _answers(handler: HTTPRouteHandler) -> dict[int, Any]:
    if "answers" in handler.opt:
        found: dict[int, Any] = handler.opt["answers"]
        return found
    if "answer" in handler.opt:
        return {handler.status_code: handler.opt["answer"]}
    returned = handler.parsed_return_field.annotation
    is_json = handler.media_type in {None, "application/json"} and returned not in {None, type(None)}
    return {handler.status_code: returned if is_json else None}


def _complete_operation(operation: dict[str, Any], handler: HTTPRouteHandler, schema_of: Any) -> None:  # noqa: ANN401
    name = str(handler.operation_id)
    is_open = handler.opt.get("open", False)
    text = operation.get("description") or ""
    operation["summary"] = text.partition("\n")[0].rstrip(".")
    operation["security"] = [] if is_open else [{SECURITY: []}]
    if not is_open:
        needed = [sorted(scopes) for scopes in needed_scopes(handler)]
        alternatives = [f"any of {', '.join(f'`{scope}`' for scope in scopes)}" for scopes in needed]
        operation["description"] = f"{text}\n\nScopes: {', and '.join(alternatives)}."
    examples = examples_of(name)
    operation["parameters"] = [_parameter(each, name, examples) for each in operation.get("parameters", ())]
    operation["x-examples"] = {
        each: {"status": example.status or handler.status_code, **({"query": example.query} if example.query else {})}
        for each, example in examples.items()
    }
    body = body_type(handler)
    if body is not None:
        bodies = {each: {"value": example.body} for each, example in examples.items() if example.body is not None}
        media = {"schema": schema_of[body], "examples": bodies}
        field = handler.parsed_data_field
        is_optional = field is not None and field.is_optional
        operation["requestBody"] = {"required": not is_optional, "content": {"application/json": media}}
    operation["responses"] = {
        **{str(status): _answer(handler, answer, schema_of) for status, answer in _answers(handler).items()},
        **{
            str(status): {"$ref": f"#/components/responses/{status}"}
            for status in _PROBLEMS
            if status not in _ON_DRAFTS_ONLY or handler.opt.get("draft", False)
        },
    }
    for status, links in LINKS.get(name, {}).items():
        operation["responses"][str(status)]["links"] = {
            target: {"operationId": target, "parameters": parameters} for target, parameters in links.items()
        }


def _parameter(parameter: dict[str, Any], operation: str, examples: Mapping[str, Example]) -> dict[str, Any]:
    """Return a parameter without the null that no query, path or header can carry."""
    schema = dict(parameter["schema"])
    schema.pop("description", None)
    choices = [each for each in schema.pop("oneOf", ()) if each.get("type") != "null"]
    schema = {**choices[0], **schema} if len(choices) == 1 else schema
    kept = {name: parameter[name] for name in ("name", "in", "description") if name in parameter}
    if parameter["in"] == "header":
        example = _ANY_REVISION
        if parameter["name"] == FIELD:
            schema |= {"minLength": 1, "maxLength": MAX_KEY_CHARS}
            example = f"{operation}-1"
        required = "required" in parameter.get("description", "").lower()
        return {**kept, "schema": schema, "required": required, "example": example}
    if parameter["in"] == "path":
        if schema.get("type") == "string":
            schema.setdefault("minLength", 1)
        place = PLACES.get(kept["name"], "1")
        kept["example"] = int(place) if schema.get("type") == "integer" else place
    return {**kept, "schema": schema, "required": parameter["required"]}


def _answer(handler: HTTPRouteHandler, answer: Any, schema_of: Any) -> dict[str, Any]:  # noqa: ANN401
    names = [name for name in _HEADERS if name not in _OF_KEYS or not handler.opt.get("open", False)]
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    if answer is not None:
        content = {"application/json": {"schema": schema_of[answer]}}
    else:
        content = {media: {} for media in handler.opt.get("media", [handler.media_type])}
    if handler.status_code == 204 or (answer is None and handler.media_type in {None, "application/json"}):  # noqa: PLR2004
        return {"description": "Done.", "headers": headers}
    return {"description": "Done.", "headers": headers, "content": content}


def _problem(text: str, schema: object) -> dict[str, Any]:
    return {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}


_HEADERS = {
    "X-Request-Id": {"description": "Names this request in logs and problems.", "schema": {"type": "string"}},
    "Alacarte-Version": {"description": "The version of the API that answered.", "schema": {"type": "string"}},
    "Alacarte-Clock": {
        "description": "The time in force for the tenant; only where a sandbox moved its clock.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "What the key may send: q in w seconds.", "schema": {"type": "string"}},
    "RateLimit": {"description": "What is left of it: r, all of it again in t seconds.", "schema": {"type": "string"}},
}
_OF_KEYS = {"Alacarte-Clock", "RateLimit-Policy", "RateLimit"}
