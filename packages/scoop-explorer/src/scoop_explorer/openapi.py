"""The OpenAPI document of the API, made from the table of pages and the types of the answers."""

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Final

from scoop_explorer.answers import Status
from scoop_explorer.pages import PAGES, Page
from scoop_explorer.parameters import PACKAGES_MAX, TEXT_MAX, Parameter

PREFIX: Final = "/api/v1"

Json = dict[str, Any]

_SIMPLE: Final[dict[object, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def document(version: str) -> Json:
    """Return the OpenAPI document."""
    schemas: Json = {}
    paths = {path_of(page): {"get": _operation(page, schemas)} for page in PAGES}
    status = _schema(Status, schemas)
    schemas["Error"] = {
        "type": "object",
        "required": ["status", "error"],
        "properties": {"status": status, "error": {"type": "string", "description": "One line for a person."}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scoop explorer",
            "version": version,
            "description": "Each page of the explorer as JSON. Within v1, fields are added and never removed.",
        },
        "paths": {**paths, f"{PREFIX}/events": {"get": _EVENTS}},
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


_TEXT: Final[Json] = {"text/plain": {"schema": {"type": "string"}}}

_ERROR: Final[Json] = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}

_ETAG: Final[Json] = {
    "ETag": {"description": "For If-None-Match: the same until a change.", "schema": {"type": "string"}}
}

_EVENTS: Final[Json] = {
    "operationId": "events",
    "summary": "The status at each change, and every two seconds, as server-sent events",
    "description": "Each event is named status, and its data is a Status as JSON. At most four come in a second.",
    "responses": {
        "200": {
            "description": "The stream, which ends with the explorer.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        "503": {"description": "Too many streams.", "content": _TEXT},
    },
}


def path_of(page: Page) -> str:
    """Return the path of a page's JSON, with its parameter."""
    return f"{PREFIX}{page.api_path}{'/{name}' if page.is_about_package else ''}"


def _operation(page: Page, schemas: Json) -> Json:
    answer = _schema(page.answer_type, schemas)
    body = {
        "type": "object",
        "required": ["status", "as_of_batch", "answer"],
        "properties": {
            "status": _schema(Status, schemas),
            "as_of_batch": {"type": "integer", "description": "The batch of the oldest part of the answer."},
            "answer": {"anyOf": [answer, {"type": "null"}]},
        },
    }
    content = {"application/json": {"schema": body}}
    return {
        "operationId": page.api_path.strip("/"),
        "summary": page.summary,
        "parameters": [each for parameter in page.parameters for each in _parameters(parameter)],
        "responses": {
            "200": {"description": "The answer, as of a batch.", "content": content, "headers": _ETAG},
            "202": {"description": "A part of the answer is still being found: ask again soon.", "content": content},
            "304": {"description": "The answer is the one with the ETag of If-None-Match."},
            "400": {"description": "A parameter is missing, unknown or out of range.", "content": _ERROR},
            "404": {"description": "A package is not indexed.", "content": _ERROR},
            "414": {"description": "The URL is too long.", "content": _TEXT},
            "503": {
                "description": "Too many requests, or no index yet: ask again after Retry-After seconds.",
                "content": {**_ERROR, **_TEXT},
            },
        },
    }


def _parameters(parameter: Parameter) -> list[Json]:
    described = {"description": parameter.description, "schema": _value_schema(parameter)}
    if not parameter.is_path:
        return [{"name": parameter.name, "in": "query", "required": parameter.is_required, **described}]
    found: list[Json] = [{"name": parameter.name, "in": "path", "required": True, **described}]
    if parameter.is_repeated:
        several = {"type": "array", "items": _value_schema(parameter), "maxItems": PACKAGES_MAX - 1}
        found.append({"name": parameter.name, "in": "query", "required": False, **described, "schema": several})
    return found


def _value_schema(parameter: Parameter) -> Json:
    if parameter.maximum is not None:
        return {"type": "integer", "minimum": 0, "maximum": parameter.maximum}
    if parameter.choices:
        return {"type": "string", "enum": list(parameter.choices), "default": parameter.choices[0]}
    if parameter.is_package:
        return {"type": "string", "minLength": 1, "maxLength": TEXT_MAX, "pattern": "^[A-Za-z0-9_+.@/:~-]+$"}
    return {"type": "string", "maxLength": TEXT_MAX}


def _schema(kind: Any, schemas: Json) -> Json:
    """Return the schema of a type; those of dataclasses are added to ``schemas``."""
    if simple := _SIMPLE.get(kind):
        return {"type": simple}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        return {"anyOf": [_schema(each, schemas) for each in arguments]}
    if kind is type(None):
        return {"type": "null"}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], schemas)}
    if not is_dataclass(kind):
        raise TypeError(f"expected a type of answers, got {kind!r}")
    name = typing.cast("type", kind).__name__
    if name not in schemas:
        hints = typing.get_type_hints(kind)
        properties = {field.name: _schema(hints[field.name], schemas) for field in fields(kind)}
        schemas[name] = {"type": "object", "required": list(properties), "properties": properties}
    return {"$ref": f"#/components/schemas/{name}"}
