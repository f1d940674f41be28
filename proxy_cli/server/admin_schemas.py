"""What the OpenAPI document says of the endpoints for operators: made from the types that their bodies are read by.

Owns: the way from such a type to a schema. Refuses: to describe an endpoint that is not served. Rule: the document
cannot say anything else than what is checked, for there is one declaration.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from proxy_cli.admin.base import Endpoint
from proxy_cli.admin.table import ENDPOINTS
from proxy_cli.shapes import Json

REFUSED: Final = "Refused"  # the component that all their failures share
_TEMPLATE: Final = "#/components/schemas/{name}"


class Path(Protocol):
    """What is needed of a route."""

    @property
    def method(self) -> str: ...
    @property
    def path_template(self) -> str: ...


def described(
    routes: Sequence[Path], endpoints: Sequence[Endpoint] = ENDPOINTS
) -> tuple[Mapping[tuple[str, str], Json], Mapping[str, Json]]:
    """Of each endpoint among the routes what its operation says beside the usual, and the schemas that it refers to."""
    served = {(each.method, each.path_template) for each in routes}
    found = [each for each in endpoints if (each.method, each.path) in served]
    kinds = list(dict.fromkeys(each.body for each in found if each.body is not None))
    references, schemas = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    by_kind = dict(zip(kinds, references, strict=True))
    told: dict[tuple[str, str], Json] = {
        (each.method, each.path): _operation(each, None if each.body is None else by_kind[each.body]) for each in found
    }
    return told, {name: _whole(schema) for name, schema in schemas.items()}


def _operation(endpoint: Endpoint, schema: Json) -> Json:
    told: dict[str, Json] = {"refused": {"4XX": {"$ref": f"#/components/responses/{REFUSED}"}}}
    if schema is not None:
        told["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    told["parameters"] = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in endpoint.query
    ]
    return told


def _whole(schema: Mapping[str, Json]) -> Json:
    """A schema without the defaults of fields that are not said: there is no JSON for those."""
    properties = {
        name: {key: value for key, value in each.items() if key != "default"}
        for name, each in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties} if properties else schema
