"""Writes what each problem code means, read from where it is given, so that no code is without its page.

A code stands on an error class, whose docstring says what it means, or in the call that raises one, beside the rule.
Run `make problem-codes` after adding one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from api.problem_codes import CODES, ProblemCode

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("api", "billing", "models", "pricing_engine")
_BASE = "DomainError"


_REMEDY_OF_CODE = {
    "unauthenticated": "Send `Authorization: Bearer` with a key of this environment that is not revoked or expired.",
    "forbidden": "Use a key with one of the scopes that `detail` names.",
    "rate_limited": "Wait as long as `Retry-After` says; spread requests by what `RateLimit` says is left.",
    "busy": "Wait a moment and send the same request again: nothing was done.",
    "unanswered": "Send the same request again, under the same `Idempotency-Key`: what was done is not done twice.",
    "closed": "Send the same request again, to another process: this one is shutting down and did nothing.",
    "write_conflict": "Send the same request again: nothing was done.",
    "storage_full": "Make room for the database, then send the same request again: nothing was done.",
    "idempotency_key_required": "Send `Idempotency-Key` with any text; the same text again has no second effect.",
    "idempotency_key_reused": "Take a new `Idempotency-Key` for another request, or send the first one unchanged.",
    "request_in_progress": "Wait, then send the same request again under the same `Idempotency-Key`.",
}
_REMEDY_OF_KIND = {
    "NotFoundError": "Check the id that `field` names; what belongs to another tenant does not exist for this key.",
    "ConflictError": "Read what is recorded, then decide: the same request is refused again.",
    "InvalidValueError": "Correct the member that `field` names as `detail` says; nothing was done.",
    "LimitExceededError": "Send less, or smaller numbers, as `detail` says; nothing was done.",
    "RuleBrokenError": "Read the rule in `detail`; once it is kept, send the request again. Nothing was done.",
    _BASE: "Read `detail`; nothing was done.",
}
_MEANING_OF_CODE = {
    "busy": "Too many requests wait already, or the database does not answer.",
    "closed": "The process is shutting down and takes no more requests.",
}
_OF_THE_DOOR = {
    "malformed": ("The request is no JSON, or a member or parameter is missing, unknown, of the wrong type, or sent "
                  "twice.",
                  "Correct what `detail` and `errors` name; the reference has an example of every operation."),
    "not_found": ("There is no such address, or no such thing for this tenant.",
                  "Check the address and the ids in it."),
    "method_not_allowed": ("The address exists, with other methods.", "Use one that the header `Allow` names."),
    "body_too_large": ("The body is larger than is read.", "Send it in parts."),
    "unsupported_media_type": ("The body is of a media type that is not read here.", "Send `application/json`."),
    "internal_error": ("It is our fault, and logged.", "Send it again; if it stays, tell us `request_id`."),
}  # fmt: skip
"""What is refused before any domain error: by the framework, or by nobody's intention."""


class _Found(NamedTuple):
    code: str
    kind: str
    meaning: str
    rule: str


def found_codes() -> Sequence[ProblemCode]:
    """Return every code that the source gives, in alphabetical order."""
    by_code: dict[str, list[_Found]] = {}
    for found in _found_by_module().values():
        for each in found:
            by_code.setdefault(each.code, []).append(each)
    codes = {code: _described(code, places) for code, places in by_code.items()}
    codes |= {code: ProblemCode(code, *texts) for code, texts in _OF_THE_DOOR.items()}
    return [codes[code] for code in sorted(codes)]


def codes_by_module() -> Mapping[str, set[str]]:
    """Return which codes each module gives, by its name."""
    return {name: {each.code for each in found} for name, found in _found_by_module().items()}


def _found_by_module() -> Mapping[str, Sequence[_Found]]:
    paths = [path for name in _PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
    trees = {path: ast.parse(source) for path in paths if b"Error" in (source := path.read_bytes())}
    classes = {node.name: node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): [
            each for node in ast.walk(tree) for each in _codes_of(node, classes)
        ]
        for path, tree in trees.items()
    }


def _described(code: str, places: list[_Found]) -> ProblemCode:
    kind = next((each.kind for each in places if each.kind in _REMEDY_OF_KIND), _BASE)
    rules = tuple(sorted({each.rule for each in places if each.rule}))
    meaning = _MEANING_OF_CODE.get(code) or next((each.meaning for each in places if not each.rule), places[0].meaning)
    return ProblemCode(code, meaning, _REMEDY_OF_CODE.get(code, _REMEDY_OF_KIND[kind]), rules)


def _codes_of(node: ast.AST, classes: Mapping[str, ast.ClassDef]) -> Iterator[_Found]:
    if isinstance(node, ast.ClassDef) and (kind := _kind(node.name, classes)):
        for line in node.body:
            target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
            value = getattr(line, "value", None)
            if isinstance(target, ast.Name) and target.id == "code" and isinstance(value, ast.Constant):
                yield _Found(str(value.value), kind, (ast.get_docstring(node) or "").partition("\n\n")[0], "")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and (kind := _kind(node.func.id, classes)):
        meaning = (ast.get_docstring(classes[node.func.id]) or "").partition("\n\n")[0]
        for given in node.keywords:
            if given.arg == "code" and isinstance(given.value, ast.Constant) and given.value.value:
                yield _Found(str(given.value.value), kind, meaning, _text(node.args[0]) if node.args else "")


def _kind(name: str, classes: Mapping[str, ast.ClassDef]) -> str:
    """Return which of the kinds of refusal a class is, "" for none."""
    if name in _REMEDY_OF_KIND:
        return name
    bases = [base.id for base in classes[name].bases if isinstance(base, ast.Name)] if name in classes else []
    return next((kind for base in bases if base != name and (kind := _kind(base, classes))), "")


def _text(rule: ast.expr) -> str:
    """Return a rule as it is stated, with an ellipsis for what is filled in."""
    if isinstance(rule, ast.Constant):
        return str(rule.value)
    if isinstance(rule, ast.JoinedStr):
        return "".join([_text(part) if isinstance(part, ast.Constant) else "…" for part in rule.values])
    return ""


def main() -> None:
    """Write the list."""
    lines = b",\n".join([msgspec.json.encode(each) for each in found_codes()])
    CODES.write_bytes(b"[\n" + lines + b"\n]\n")


if __name__ == "__main__":
    main()
