"""The OpenAPI document: made from the table of routes, whole, and true to it."""

import json
from collections.abc import Iterator

import pytest

from proxy_cli.server.openapi import openapi
from proxy_cli.server.routes import ROUTES
from proxy_cli.shapes import Json


def document(*, needs_key: bool = True, root: str = "") -> Json:
    return openapi(ROUTES, version="1.2.3", server_root_path=root, needs_key=needs_key)


def operations(made: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in made["paths"].items():
        for method, told in methods.items():
            yield path, method, told


def body_of(made: Json, path: str) -> Json:
    reference = made["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return made["components"]["schemas"][reference.rpartition("/")[2]]


def references(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_route_is_in_the_document_once():
    """Path and method of each route are there, each operation with an id of its own."""
    found = [(method.upper(), path) for path, method, _ in operations(document())]
    names = [told["operationId"] for _, _, told in operations(document())]

    assert sorted(found) == sorted((route.method, route.path_template) for route in ROUTES)
    assert len(names) == len(set(names))


def test_document_is_json_whose_references_lead_somewhere():
    """It can be written as JSON, and each `$ref` names a schema that is there."""
    made = json.loads(json.dumps(document()))

    found = set(references(made))
    assert found
    assert found <= {f"#/components/{kind}/{name}" for kind, named in made["components"].items() for name in named}


def test_inference_routes_say_what_they_take():
    """Bodies name their needed fields; uploads are forms; streams are answers of their own."""
    made = document()
    chat = made["paths"]["/v1/chat/completions"]["post"]
    upload = made["paths"]["/v1/audio/transcriptions"]["post"]

    assert body_of(made, "/v1/chat/completions")["required"] == ["model", "messages"]
    assert body_of(made, "/v1/completions")["required"] == ["model", "prompt"]
    assert "text/event-stream" in chat["responses"]["200"]["content"]
    assert "multipart/form-data" in upload["requestBody"]["content"]


def test_model_in_the_path_is_a_parameter_and_not_needed_in_the_body():
    """The Azure-style path declares its slot, and its body may leave the model out."""
    path = "/openai/deployments/{model}/chat/completions"
    made = document()
    told = made["paths"][path]["post"]

    assert [parameter["name"] for parameter in told["parameters"]] == ["model"]
    assert body_of(made, path)["required"] == ["messages"]


@pytest.mark.parametrize("needs_key", [True, False])
def test_key_is_asked_for_where_it_is_needed(needs_key):
    """With a master key all but the public routes declare it; without one none does."""
    made = document(needs_key=needs_key)
    public = {route.path_template for route in ROUTES if route.public}

    for path, _, told in operations(made):
        assert ("security" in told) == (needs_key and path not in public)
        assert ("401" in told["responses"]) == (needs_key and path not in public)
    assert ("securitySchemes" in made["components"]) == needs_key


def test_server_is_where_the_reverse_proxy_shows_us():
    """A root path is the document's server address."""
    assert document(root="/llm/")["servers"] == [{"url": "/llm"}]
    assert document()["servers"] == [{"url": "/"}]
