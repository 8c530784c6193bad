"""The OpenAPI document of the API, made from the table of pages and the types of the answers."""

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Final

from scoop_explorer.answers import Status
from scoop_explorer.pages import PAGES, Page, Parameter

PREFIX: Final = "/api/v1"

Json = dict[str, Any]

_SIMPLE: Final[dict[object, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def document(version: str) -> Json:
    """Return the OpenAPI document."""
    schemas: Json = {}
    paths = {path_of(page): {"get": _operation(page, schemas)} for page in PAGES}
    _schema(Status, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scoop explorer",
            "version": version,
            "description": "Each page of the explorer as JSON. Within v1, fields are added and never removed.",
        },
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def path_of(page: Page) -> str:
    """Return the path of a page's JSON, with its parameter."""
    return f"{PREFIX}{page.api_path}{'/{name}' if page.is_about_package else ''}"


def _operation(page: Page, schemas: Json) -> Json:
    answer = _schema(page.answer_type, schemas)
    body = {
        "type": "object",
        "required": ["status", "answer"],
        "properties": {"status": _schema(Status, schemas), "answer": {"anyOf": [answer, {"type": "null"}]}},
    }
    content = {"application/json": {"schema": body}}
    return {
        "operationId": page.api_path.strip("/"),
        "summary": page.summary,
        "parameters": [_parameter(each) for each in page.parameters],
        "responses": {
            "200": {"description": "The answer.", "content": content},
            "202": {
                "description": "The answer is incomplete, or older than the last change: ask again soon.",
                "content": content,
            },
            "400": {"description": "A parameter cannot be used."},
            "404": {"description": "The package is not indexed."},
            "503": {"description": "Too many requests, or no index yet: ask again after Retry-After seconds."},
        },
    }


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": "path" if parameter.is_path else "query",
        "required": parameter.is_required,
        "description": parameter.description,
        "schema": {"type": "integer", "minimum": 0} if parameter.is_number else {"type": "string", "maxLength": 255},
    }


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
