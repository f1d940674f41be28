"""Fields that targets are known not to take."""

import pytest

from proxy_cli.errors import UnsupportedParameter
from proxy_cli.prices.table import PriceTable
from proxy_cli.providers.catalog import ROWS
from proxy_cli.providers.parameters import left_out, refused, renames, takes_tools
from proxy_cli.shapes import Backend

OPENAI = Backend("https", "api.openai.com", 443)
TOOLS = {"tools", "tool_choice", "functions", "function_call", "parallel_tool_calls"}


@pytest.mark.parametrize(
    ("ability", "fields"),
    [
        ("supports_function_calling", TOOLS),
        ("supports_tool_choice", {"tool_choice"}),
        ("supports_parallel_function_calling", {"parallel_tool_calls"}),
        ("supports_response_schema", {"response_format"}),
        ("supports_reasoning", {"reasoning_effort"}),
        ("supports_audio_output", {"audio", "modalities"}),
        ("supports_web_search", {"web_search_options"}),
        ("supports_vision", set()),
    ],
)
def test_refused_are_the_fields_of_abilities_that_are_denied(make_deployment, ability, fields):
    """`supports_...: false` rules fields out; true, and saying nothing, rule out none."""
    target, row = make_deployment(), ROWS["openai"]

    assert refused(target, {ability: False}, None, row) == fields
    assert refused(target, {ability: True}, None, row) == set()
    assert refused(target, {}, {}, row) == set()


def test_refused_by_the_price_table_unless_model_info_knows_better(make_deployment):
    """A false of the table counts where model_info is silent."""
    target, row = make_deployment(), ROWS["openai"]
    entry = {"supports_function_calling": False}

    assert refused(target, {}, entry, row) == TOOLS
    assert refused(target, {"supports_function_calling": True}, entry, row) == set()


def test_refused_by_the_row_of_the_service(make_deployment):
    """A service's row names fields that it does not take from anybody."""
    assert refused(make_deployment(provider="groq"), {}, None, ROWS["groq"]) == {"user"}


@pytest.mark.parametrize(
    ("model", "has", "lacks"),
    [
        ("o1", {"temperature", "logprobs"}, {"stop"}),
        ("o3-mini", {"temperature", "stop"}, {"max_tokens", "reasoning_effort"}),
        ("gpt-5", {"temperature", "top_p", "stop"}, {"tools", "reasoning_effort"}),
        ("gpt-5-mini-2025-08-07", {"temperature"}, set()),
        ("gpt-5-chat-latest", set(), {"temperature", "stop"}),
        ("gpt-5.1", set(), {"temperature", "stop", "reasoning_effort"}),
        ("gpt-4o", {"reasoning_effort"}, {"temperature"}),
        ("ft:gpt-4.1-mini:us::1", {"reasoning_effort"}, {"temperature"}),
        ("gpt-3.5-turbo", {"reasoning_effort"}, {"temperature"}),
        ("omni-x", set(), {"temperature"}),
    ],
)
def test_refused_by_openais_models_on_its_own_host(make_deployment, model, has, lacks):
    """Those that reason fix the sampling, the others take no effort; a server of one's own is asked."""
    row = ROWS["openai"]
    there = refused(make_deployment(model=model, backend=OPENAI), {}, None, row)

    assert has <= there
    assert not lacks & there
    assert refused(make_deployment(model=model), {}, None, row) == set()


def test_refused_by_azure_goes_by_the_base_model(make_deployment):
    """On Azure a deployment's name says nothing; its base_model does."""
    target = make_deployment(provider="azure", model="ours", backend=Backend("https", "x.openai.azure.com", 443))

    assert "temperature" in refused(target, {"base_model": "azure/o3"}, None, ROWS["azure"])
    assert refused(target, {}, None, ROWS["azure"]) == set()


def test_takes_tools_is_what_is_known():
    """True and false are knowledge; silence is None, and gpt-4o is known by the table."""
    nothing: frozenset[str] = frozenset()

    assert takes_tools(nothing, {}, None) is None
    assert takes_tools(frozenset({"tools"}), {"supports_function_calling": True}, None) is False
    assert takes_tools(nothing, {"supports_function_calling": False}, None) is False
    assert takes_tools(nothing, {"supports_function_calling": True}, None) is True
    assert takes_tools(nothing, {}, PriceTable.load().find("gpt-4o")) is True


def test_left_out_without_drop_params_is_an_error_that_names_fields_and_cures(make_call, make_deployment):
    """What the target does not take is refused with the names, and with what can be done."""
    call = make_call(tools=[{"type": "function"}], tool_choice="auto", temperature=0.5)

    with pytest.raises(UnsupportedParameter) as error:
        left_out(call, make_deployment(refuses=frozenset(TOOLS)))

    assert error.value.status == 400
    assert error.value.param == "tool_choice"
    for word in ("'tools'", "'tool_choice'", "gpt-3.5-turbo", "drop_params", "allowed_openai_params"):
        assert word in error.value.message
    assert "temperature" not in error.value.message


@pytest.mark.parametrize(
    ("in_request", "in_deployment", "drops"),
    [(None, True, True), (True, False, True), (False, True, False), (None, False, False)],
)
def test_left_out_follows_the_request_before_the_deployment(
    make_call, make_deployment, in_request, in_deployment, drops
):
    """`drop_params` of the request wins, in both directions."""
    call = make_call(user="me", **({} if in_request is None else {"drop_params": in_request}))
    target = make_deployment(refuses=frozenset({"user"}), drop_params=in_deployment)

    if drops:
        assert left_out(call, target) == {"user"}
    else:
        with pytest.raises(UnsupportedParameter):
            left_out(call, target)


@pytest.mark.parametrize("where", ["request", "deployment"])
def test_left_out_lets_allowed_fields_pass(make_call, make_deployment, where):
    """`allowed_openai_params` of either side overrules what is known."""
    allowed = {"allowed_openai_params": ["user"]} if where == "request" else {}
    call = make_call(user="me", **allowed)
    target = make_deployment(
        refuses=frozenset({"user"}), allowed_openai_params=frozenset({"user"} if where == "deployment" else ())
    )

    assert left_out(call, target) == set()


@pytest.mark.parametrize(
    "fields",
    [{"temperature": 1}, {"temperature": 1.0}, {"temperature": None}, {"tools": []}, {"presence_penalty": 0}],
)
def test_left_out_of_what_asks_for_nothing_is_no_error(make_call, make_deployment, fields):
    """A field at the value that its absence means is dropped in silence: many clients always send it."""
    target = make_deployment(refuses=frozenset({"temperature", "tools", "presence_penalty"}))

    assert left_out(make_call(**fields), target) == set(fields)


def test_left_out_of_response_format_is_the_schema_alone(make_call, make_deployment):
    """A target without schemas may still be asked for plain JSON."""
    target = make_deployment(refuses=frozenset({"response_format"}))

    assert left_out(make_call(response_format={"type": "json_object"}), target) == set()
    with pytest.raises(UnsupportedParameter, match="response_format"):
        left_out(make_call(response_format={"type": "json_schema", "json_schema": {}}), target)


def test_renames_the_limit_for_openais_newer_models_only_on_its_host(make_deployment):
    """OpenAI's reasoning models know max_completion_tokens; other servers get the field that the caller wrote."""
    row = ROWS["openai"]

    assert renames(make_deployment(model="gpt-5.1", backend=OPENAI), row) == (("max_tokens", "max_completion_tokens"),)
    assert renames(make_deployment(model="gpt-4o", backend=OPENAI), row) == ()
    assert renames(make_deployment(model="gpt-5.1"), row) == ()
    assert ("seed", "random_seed") in renames(make_deployment(provider="mistral"), ROWS["mistral"])
