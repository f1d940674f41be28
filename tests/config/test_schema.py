"""The one declaration, and the JSON Schema that is made of it."""

import json

import pytest

from proxy_cli.config.schema import Config, json_schema
from proxy_cli.config.state import State, extra, settings
from proxy_cli.config.survey import visits

SCHEMA = json_schema()
SECTIONS = ["litellm_settings", "router_settings", "general_settings"]


def properties(name):
    """The settings of a top-level section."""
    reference = SCHEMA["properties"][name].get("$ref") or SCHEMA["properties"][name]["items"]["$ref"]
    return SCHEMA["$defs"][reference.rpartition("/")[2]]["properties"]


def test_the_schema_is_json_and_closed():
    """Editors can read it, and a key that nobody knows is an error in them too."""
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["additionalProperties"] is False
    assert SCHEMA["$defs"]["GeneralSettings"]["additionalProperties"] is False
    assert SCHEMA["$defs"]["ModelParams"]["additionalProperties"] is True
    assert SCHEMA["$defs"]["ModelParams"]["required"] == ["model"]


def test_every_setting_has_a_description_and_a_state():
    """The documentation is made of it."""
    definitions = [SCHEMA, *SCHEMA["$defs"].values()]
    bare = [
        name
        for definition in definitions
        for name, told in definition["properties"].items()
        if not told.get("description") or told.get("x-state") not in set(State)
    ]

    assert bare == []


def test_what_is_ignored_says_why():
    """Nothing is accepted without a word."""
    silent = [
        name
        for section in SECTIONS
        for name, told in properties(section).items()
        if told["x-state"] == State.IGNORED and not told.get("x-why")
    ]

    assert silent == []


def test_groups_are_not_in_the_schema():
    """Their keys stand where they stand in the file."""
    names = [name for definition in (SCHEMA, *SCHEMA["$defs"].values()) for name in definition["properties"]]

    assert not [name for name in names if "(" in name]
    assert {"temperature", "aws_region_name", "api_key"} <= set(SCHEMA["$defs"]["ModelParams"]["properties"])
    assert SCHEMA["$defs"]["ModelParams"]["patternProperties"]


@pytest.mark.parametrize(
    ("section", "names"),
    [
        (
            "router_settings",
            "routing_strategy num_retries retry_policy fallbacks model_group_alias timeout",
        ),
        ("litellm_settings", "drop_params cache_params callbacks max_budget budget_exceeded_status_code ssl_verify"),
        ("general_settings", "master_key database_url alerting pass_through_endpoints key_management_system compat"),
        ("model_list", "model_name litellm_params model_info"),
    ],
)
def test_the_settings_people_use_are_declared(section, names):
    """LiteLLM's names, each with a state."""
    assert set(names.split()) <= set(properties(section))


def test_every_reference_of_the_schema_leads_somewhere():
    """No definition was taken out that is still referred to."""
    text = json.dumps(SCHEMA)

    for name in SCHEMA["$defs"]:
        assert f"#/$defs/{name}" in text
    assert text.count("#/$defs/") >= len(SCHEMA["$defs"])


def test_the_declaration_walks_a_tree_to_its_leaves():
    """Sections in lists, in mappings and in sections are all reached."""
    tree = {"model_list": [{"litellm_params": {"model": "a"}}], "router_settings": {"default_litellm_params": {"n": 1}}}

    assert [visit.path[-1] for visit in visits(tree)] == [
        "model_list", "litellm_params", "model", "router_settings", "default_litellm_params", "n",
    ]  # fmt: skip
    assert all(extra(field)["x-state"] for field in settings(Config).values())
