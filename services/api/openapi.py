"""The api's own description, made true where the framework's guess is not: problems, keys, no 422."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from services.api.answers import ProblemDetails
from services.common.problems import MEDIA_TYPE

WITHOUT_KEY: Final = ("/livez", "/readyz")
REFUSALS: Final = {
    "400": "A parameter is not valid",
    "401": "No key, or one that is not in force",
    "403": "The key lacks the scope",
    "404": "There is no such thing",
    "503": "The database does not answer; try again",
}


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` give the corrected description."""
    made: dict[str, Any] = {}
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(_corrected(generate()))
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _corrected(document: dict[str, Any]) -> dict[str, Any]:
    components = document["components"]
    schemas = components["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["ProblemDetails"] = problem
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "ebbtide keys create"}}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            responses = operation["responses"]
            responses.pop("422", None)
            refusals = dict(REFUSALS) if path not in WITHOUT_KEY else {"400": REFUSALS["400"]}
            if "{" not in path:
                refusals.pop("404", None)
            if "requestBody" in operation:
                refusals["413"] = "The body is too large"
            for code, declared in responses.items():
                # What an endpoint declares beyond that is a problem, too.
                if code >= "400" and "application/json" in declared.get("content", {}):
                    declared["content"] = {MEDIA_TYPE: declared["content"]["application/json"]}
            for code, description in refusals.items():
                responses[code] = {"description": description, "content": content}
            if path not in WITHOUT_KEY:
                operation["security"] = [{"key": []}]
    return document
