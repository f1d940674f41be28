"""The operator's fields: refused wherever a caller may try them, and only there."""

import json

import pytest

from proxy_cli.errors import InvalidRequest
from proxy_cli.wire.forbidden import refuse_form_field, refuse_server_fields
from proxy_cli.wire.request import cut

NAMES = """
    api_base base_url api_key user_config model_list aws_sts_endpoint aws_web_identity_token aws_role_name
    aws_profile_name aws_session_name aws_external_id aws_session_tags aws_bedrock_runtime_endpoint
    aws_bedrock_project_id aws_access_key_id aws_secret_access_key aws_region_name workspace_id vertex_credentials
    vertex_ai_credentials vertex_project azure_ad_token s3_endpoint_url sagemaker_base_url deployment_url
    nvcf_function_id use_ssl langfuse_host langfuse_secret_key langsmith_api_key posthog_api_url wandb_api_key
    input_cost_per_token output_cost_per_token input_cost_per_second cache_read_input_token_cost
    cache_creation_input_token_cost user_api_key_auth_metadata user_api_key_user_id mock_response mock_tool_calls
    mock_testing_fallbacks mock_testing_rate_limit_error callbacks success_callback proxy_server_request
    litellm_params model_info custom_llm_provider extra_headers
"""
FORBIDDEN = NAMES.split()

PLACES = [
    ("{name}", lambda name: {name: "x"}),
    ("extra_body.{name}", lambda name: {"extra_body": {name: "x"}}),
    ("metadata.{name}", lambda name: {"metadata": {name: "x"}}),
    ("litellm_metadata.a[1].{name}", lambda name: {"litellm_metadata": {"a": [0, {name: "x"}]}}),
    ("fallbacks[0].{name}", lambda name: {"fallbacks": [{"model": "m", name: "x"}]}),
    ("extra_body.metadata.{name}", lambda name: {"extra_body": {"metadata": {name: None}}}),
    ("litellm_embedding_config.{name}", lambda name: {"litellm_embedding_config": {name: "x"}}),
    ("router_settings_override.{name}", lambda name: {"router_settings_override": {name: "x"}}),
]


@pytest.mark.row("A-19")
@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.parametrize(("path", "place"), PLACES, ids=[path for path, _ in PLACES])
def test_a_field_of_the_operator_is_refused_wherever_it_stands(name, path, place):
    """400 with the whole path and the cure."""
    fields = cut(json.dumps({"model": "m", "messages": []} | place(name)).encode())

    with pytest.raises(InvalidRequest) as caught:
        refuse_server_fields(fields)

    assert caught.value.param == path.format(name=name)
    assert caught.value.code == "server_only_field"
    assert f"'{caught.value.param}'" in caught.value.message
    assert "remove it from the request" in caught.value.message


@pytest.mark.row("A-19")
@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.parametrize(
    "place", ["{}", "metadata[{}]", "litellm_metadata[a][{}]", "extra_body.{}", "fallbacks[0][{}]"]
)
def test_a_form_field_of_the_operator_is_refused(name, place):
    """Forms spell paths with brackets or dots; the name is found in either."""
    with pytest.raises(InvalidRequest) as caught:
        refuse_form_field(place.format(name))

    assert caught.value.param == place.format(name)


@pytest.mark.row("A-19")
def test_the_same_words_in_tools_and_messages_are_data():
    """A tool may have a parameter called api_base; nobody reads it but the model."""
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"properties": {"api_base": {"type": "string"}}}},
    }
    body = {"model": "m", "messages": [{"role": "user", "content": "api_key", "api_key": 1}], "tools": [tool]}

    refuse_server_fields(cut(json.dumps(body).encode()))


def test_the_same_words_in_a_fallbacks_messages_are_data_too():
    """There another request stands; in metadata they are nobody's messages."""
    other = {"model": "b", "messages": [{"role": "user", "content": "x", "api_key": 1}], "tools": [{"api_base": {}}]}

    refuse_server_fields(cut(json.dumps({"model": "m", "fallbacks": [other]}).encode()))
    with pytest.raises(InvalidRequest):
        refuse_server_fields(cut(json.dumps({"model": "m", "metadata": other}).encode()))


@pytest.mark.parametrize(
    "extra",
    [
        {"metadata": {"team": "a", "trace": {"id": 1}}},
        {"top_k": 5, "vendor_extension": {"api_base": "their own"}},
        {"extra_body": {"guided_json": {}}},
        {"metadata": None, "fallbacks": ["a", "b"]},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ],
)
def test_payload_passes(extra):
    """Unknown fields are the backend's business."""
    refuse_server_fields(cut(json.dumps({"model": "m"} | extra).encode()))


@pytest.mark.parametrize(
    "name", ["model", "file", "response_format", "timestamp_granularities[]", "metadata[team]", "x[api_base]"]
)
def test_form_fields_of_the_api_pass(name):
    """So do unknown ones."""
    refuse_form_field(name)


def test_nested_settings_that_are_not_json_are_a_refusal():
    """Text that is valid as bytes but not as values (a number out of range) is a 400 as well."""
    with pytest.raises(InvalidRequest, match="'metadata'"):
        refuse_server_fields(cut(b'{"metadata": {"a": 1e999}}'))


@pytest.mark.row("H-07")
@pytest.mark.parametrize("inside", [b"{}," * 25_000 + b"{}", b'"' + b"x" * 1024 * 1024 + b'"'])
def test_settings_too_large_to_be_looked_through_are_refused(inside):
    """Neither in number nor in length: nobody else is served while it is done."""
    with pytest.raises(InvalidRequest) as caught:
        refuse_server_fields(cut(b'{"model": "m", "metadata": [' + inside + b"]}"))

    assert caught.value.param == "metadata"
    assert "1024 KiB and 20000 values" in caught.value.message
