"""What the OpenAPI document says of the endpoints for operators."""

import json

from proxy_cli.admin.table import ENDPOINTS
from proxy_cli.server.admin_routes import joined
from proxy_cli.server.admin_schemas import described
from proxy_cli.server.openapi import openapi
from proxy_cli.server.routes import ROUTES


def document():
    """The document with every endpoint in it, as JSON."""
    return json.loads(json.dumps(openapi(joined(ROUTES), version="1", server_root_path="", needs_key=True)))


def references(value):
    """Every `$ref` below a value."""
    if isinstance(value, dict):
        found = [value["$ref"]] if "$ref" in value else []
        return found + [each for inner in value.values() for each in references(inner)]
    return [each for inner in value for each in references(inner)] if isinstance(value, list) else []


def test_every_body_has_a_schema_that_names_its_fields():
    """By the type that reads it."""
    made = document()

    for each in ENDPOINTS:
        told = made["paths"][each.path][each.method.lower()]
        assert ("requestBody" in told) is (each.body is not None), each.path
        if each.body is not None:
            name = told["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            fields = made["components"]["schemas"][name].get("properties", {})
            assert set(fields) == set(each.body.__struct_fields__)


def test_every_reference_leads_somewhere():
    """Schemas and responses are there that are referred to."""
    made = document()
    known = {f"#/components/{kind}/{name}" for kind, named in made["components"].items() for name in named}

    assert set(references(made)) <= known


def test_queries_and_slots_are_parameters():
    """Each with its place."""
    made = document()["paths"]

    listed = {(each["name"], each["in"]) for each in made["/key/list"]["get"]["parameters"]}
    renewed = [(each["name"], each["in"]) for each in made["/key/{key}/regenerate"]["post"]["parameters"]]

    assert {("page", "query"), ("size", "query"), ("team_id", "query")} <= listed
    assert renewed == [("key", "path")]


def test_what_is_not_served_is_not_described():
    """A server without a store has none of these."""
    assert described([]) == ({}, {})
