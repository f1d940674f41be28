"""The request's controls: each is read, named, or refused, wherever it is said."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import NO_CONTROLS, Controls
from proxy_cli.wire.forbidden import refuse_server_fields
from proxy_cli.wire.request import cut
from proxy_cli.wire.steering import HONOURED, MOCK_FAILURES, UNUSED, asks_to_explain, controls, with_headers


def found(model="m", **fields):
    """The controls of a body with these fields."""
    return controls(cut(json.dumps({"model": model, **fields}).encode()), model)


def told(targets):
    """Targets as what they name, with the fields that are then different."""
    return [(each.model, {name: bytes(raw).decode() for name, raw in each.fields.items()}) for each in targets]


def test_controls_are_read_and_named():
    """Those with a meaning are values; those without are named, so that the reply can say so."""
    given_fields = {
        "timeout": 3,
        "stream_timeout": 2.5,
        "drop_params": False,
        "additional_drop_params": ["seed"],
        "allowed_openai_params": ["tools"],
        "num_retries": 0,
        "max_fallbacks": 2,
        "disable_fallbacks": True,
        "priority": 7,
        "tags": ["a"],
        "allowed_model_region": "eu",
        "cache": {"no-cache": True},
    }

    controls_found = found(**given_fields, metadata={"a": "b"}, user="u")

    assert controls_found == Controls(
        timeout_s=3.0,
        stream_timeout_s=2.5,
        drop_params=False,
        additional_drop_params=("seed",),
        allowed_openai_params=frozenset({"tools"}),
        retries=0,
        max_fallbacks=2,
        no_fallbacks=True,
        priority=7,
        tags=("a",),
        region="eu",
        present=tuple(given_fields),
        unused=("cache",),
    )


def test_a_request_without_controls_costs_nothing():
    """The everyday request gets the one constant."""
    assert found(messages=[], metadata={}, user="u") is NO_CONTROLS
    assert with_headers(NO_CONTROLS, (("x-stainless-lang", "python"), ("x-litellm-call-id", "1"))) is NO_CONTROLS
    assert found(timeout=None, drop_params=None).present == ("timeout", "drop_params")


@pytest.mark.parametrize("name", sorted(HONOURED | UNUSED))
def test_null_asks_for_nothing(name):
    """It is taken out of what the backend sees all the same."""
    controls_found = found(**{name: None})

    assert controls_found.present == (name,)
    assert controls_found == Controls(present=(name,), unused=(name,) if name in UNUSED else ())


@pytest.mark.parametrize("value", [{"tags": ["a"]}, {"a": "b", "trace": {"id": 1}}, {"a": None}])
def test_metadata_that_only_litellm_takes_is_a_control(value):
    """Tags and traces for a proxy are not sent on: OpenAI's holds strings only, and its servers refuse them."""
    controls_found = found(metadata=value)

    assert (controls_found.present, controls_found.unused) == (("metadata",), ())
    assert controls_found.tags == tuple(value.get("tags", ()))


@pytest.mark.parametrize("value", [{}, {"a": "b"}, {"tags": "a,b"}, None, [1], "text", 3])
def test_metadata_that_may_be_openais_is_the_backends(value):
    """Strings are OpenAI's own; what is no object at all is for the backend to refuse."""
    assert found(metadata=value) is NO_CONTROLS


def test_tags_of_all_places_count_once():
    """At the root, in both kinds of metadata, and in the header."""
    body = found(tags=["a"], metadata={"tags": ["b", "a"]}, litellm_metadata={"tags": ["c"], "team": "x"})

    everything = with_headers(body, (("x-litellm-tags", " d, a ,,e"),))

    assert everything.tags == ("a", "b", "c", "d", "e")


def test_fallbacks_are_names_or_names_with_other_fields():
    """Each field as the bytes it came as; an empty list asks for none at all."""
    body = b'{"fallbacks": ["a", {"model": "b", "temperature": 1.50, "messages": [ {"content": "\xe6\x97\xa5"} ]}]}'

    targets = controls(cut(body)).fallbacks

    assert told(targets) == [("a", {}), ("b", {"temperature": "1.50", "messages": '[ {"content": "日"} ]'})]
    assert found(fallbacks=[]).fallbacks == ()


@pytest.mark.parametrize(("model", "wanted"), [("m", ["a", "b"]), ("other", ["z"])])
def test_fallbacks_by_name_are_those_of_the_model_that_is_asked_for(model, wanted):
    """As the configuration writes them; `*` is for all others."""
    targets = found(model, fallbacks=[{"m": ["a"]}, {"*": ["z"]}, {"m": ["b"]}]).fallbacks

    assert [each.model for each in targets] == wanted


def test_fallbacks_for_other_names_only_are_none():
    """They were meant instead of the configured ones."""
    assert found(fallbacks=[{"another": ["a"]}]).fallbacks == ()


@pytest.mark.parametrize("name", ["context_window_fallbacks", "content_policy_fallbacks"])
def test_special_fallbacks_are_told_by_name(name):
    """LiteLLM's shape: a list of mappings."""
    targets = getattr(found(**{name: [{"m": ["a", {"model": "b", "n": 2}]}, {"m": ["c"], "k": []}]}), name)

    assert {source: told(each) for source, each in targets.items()} == {
        "m": [("a", {}), ("b", {"n": "2"}), ("c", {})],
        "k": [],
    }


def test_longer_models_are_fallbacks_for_long_prompts():
    """The list wins over the mapping."""
    targets = found(
        context_window_fallback_dict={"a": "long", "b": "long"}, context_window_fallbacks=[{"b": ["longest"]}]
    ).context_window_fallbacks

    assert {source: told(each) for source, each in targets.items()} == {"a": [("long", {})], "b": [("longest", {})]}


def test_failures_that_are_played_are_those_that_are_true():
    """And none of them is sent on."""
    controls_found = found(mock_testing_fallbacks=True, mock_testing_rate_limit_error=False)

    assert controls_found.mock_failures == {"mock_testing_fallbacks"}
    assert set(controls_found.present) == {"mock_testing_fallbacks", "mock_testing_rate_limit_error"}


@pytest.mark.parametrize("name", sorted(MOCK_FAILURES))
def test_failures_are_played_only_where_the_operator_permits_it(name):
    """At the root of the request, and nowhere deeper."""
    fields, deeper = cut(b'{"%s": true}' % name.encode()), cut(b'{"metadata": {"%s": true}}' % name.encode())

    refuse_server_fields(fields, MOCK_FAILURES)
    for refused, permitted in ((fields, frozenset()), (deeper, MOCK_FAILURES)):
        with pytest.raises(InvalidRequest, match="makes up an answer"):
            refuse_server_fields(refused, permitted)


@pytest.mark.row("H-08")
@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"timeout": "fast"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"stream_timeout": -1}, "stream_timeout"),
        ({"drop_params": "yes"}, "drop_params"),
        ({"additional_drop_params": "seed"}, "additional_drop_params"),
        ({"allowed_openai_params": [1]}, "allowed_openai_params"),
        ({"num_retries": "2"}, "num_retries"),
        ({"num_retries": 1e3}, "num_retries"),
        ({"num_retries": 101}, "num_retries"),
        ({"max_fallbacks": -1}, "max_fallbacks"),
        ({"disable_fallbacks": 1}, "disable_fallbacks"),
        ({"priority": 256}, "priority"),
        ({"tags": "a"}, "tags"),
        ({"allowed_model_region": ["eu"]}, "allowed_model_region"),
        ({"metadata": {"tags": {}}}, "metadata.tags"),
        ({"metadata": {"tags": ["a", 1]}}, "metadata.tags"),
        ({"litellm_metadata": "a"}, "litellm_metadata"),
        ({"fallbacks": "a"}, "fallbacks"),
        ({"fallbacks": {"m": ["a"]}}, "fallbacks"),
        ({"fallbacks": ["a", 5]}, "fallbacks[1]"),
        ({"fallbacks": [""]}, "fallbacks[0]"),
        ({"fallbacks": [{"name": "a"}]}, "fallbacks[0]"),
        ({"fallbacks": [{"model": 5}]}, "fallbacks[0]"),
        ({"fallbacks": [{"model": "a", "timeout": 5}]}, "fallbacks[0].timeout"),
        ({"fallbacks": [{"model": "a", "stream": True}]}, "fallbacks[0].stream"),
        ({"fallbacks": [{"m": [5]}]}, "fallbacks[0].m[0]"),
        ({"context_window_fallbacks": {"m": ["a"]}}, "context_window_fallbacks"),
        ({"context_window_fallbacks": ["a"]}, "context_window_fallbacks[0]"),
        ({"content_policy_fallbacks": [{"m": "a"}]}, "content_policy_fallbacks[0].m"),
        ({"content_policy_fallbacks": [{"m": [5]}]}, "content_policy_fallbacks[0].m[0]"),
        ({"context_window_fallback_dict": {"a": ["b"]}}, "context_window_fallback_dict"),
        ({"mock_testing_fallbacks": "true"}, "mock_testing_fallbacks"),
    ],
)
def test_a_control_that_cannot_be_read_is_refused(values, param):
    """It is never accepted and passed over: 400 with the field."""
    with pytest.raises(InvalidRequest) as caught:
        found(**values)

    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize("where", ["{}", '{{"model": "b", "n": [{}]}}'])
def test_a_fallback_that_is_no_plain_json_is_refused(where):
    """Where a number has no value that anybody could use."""
    with pytest.raises(InvalidRequest):
        controls(cut(('{"fallbacks": [' + where.format("1e999") + "]}").encode()))


@pytest.mark.parametrize(
    ("name", "value", "field", "wanted"),
    [
        ("x-litellm-timeout", "3", "timeout_s", 3.0),
        ("x-litellm-stream-timeout", "2.5", "stream_timeout_s", 2.5),
        ("x-litellm-num-retries", "0", "retries", 0),
        ("x-litellm-priority", "255", "priority", 255),
        ("x-litellm-keepalive-seconds", "0", "heartbeat_s", 0.0),
        ("x-litellm-tags", "a, b", "tags", ("a", "b")),
        ("x-llmproxy-explain", "1", "explain", True),
        ("x-llmproxy-explain", "True", "explain", True),
        ("x-llmproxy-explain", "0", "explain", False),
    ],
)
def test_headers_say_what_the_body_may_say(name, value, field, wanted):
    """And leave all else as it is."""
    controls_found = with_headers(NO_CONTROLS, (("accept", "*/*"), (name, value)))

    assert getattr(controls_found, field) == wanted
    assert controls_found == Controls(**{field: wanted})


def test_the_body_wins_over_the_header_and_the_first_header_over_the_second():
    """The closer word counts."""
    body = found(timeout=2, num_retries=0, priority=0)
    headers = (("x-litellm-timeout", "3"), ("x-litellm-num-retries", "3"), ("x-litellm-priority", "3"))

    assert with_headers(body, headers) == body
    assert with_headers(NO_CONTROLS, (("x-litellm-timeout", "3"), ("x-litellm-timeout", "4"))).timeout_s == 3


@pytest.mark.row("H-08")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-litellm-timeout", "fast"),
        ("x-litellm-timeout", "0"),
        ("x-litellm-timeout", "nan"),
        ("x-litellm-timeout", "inf"),
        ("x-litellm-stream-timeout", "-1"),
        ("x-litellm-num-retries", "1.5"),
        ("x-litellm-num-retries", "+1"),
        ("x-litellm-num-retries", "²"),
        ("x-litellm-num-retries", "101"),
        ("x-litellm-num-retries", ""),
        ("x-litellm-priority", "256"),
        ("x-litellm-keepalive-seconds", "-1"),
        ("x-litellm-keepalive-seconds", "nan"),
        ("x-llmproxy-explain", "yes, please"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused(name, value):
    """By its name, with what it should be."""
    with pytest.raises(InvalidRequest, match=f"the header {name} must be") as caught:
        with_headers(NO_CONTROLS, ((name, value),))

    assert (caught.value.status, caught.value.param) == (400, name)


def test_a_dry_run_is_asked_for_also_where_nothing_else_can_be_read():
    """By the header alone; one that says no, or nothing, asks for none."""
    assert asks_to_explain((("accept", "*/*"), ("x-llmproxy-explain", "1")))
    assert not asks_to_explain((("x-llmproxy-explain", "0"),))
    assert not asks_to_explain((("x-llmproxy-explain", "perhaps"),))
    assert not asks_to_explain(())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "m", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(HONOURED | UNUSED | {"metadata", "litellm_metadata"})), JSON, max_size=4))
def test_any_values_are_controls_or_a_refusal_of_a_field(fields):
    """Nothing but InvalidRequest ever comes out of them, and it names what was sent."""
    outcome = outcome_of(fields)

    if isinstance(outcome, Controls):
        assert set(outcome.unused) <= set(outcome.present) <= set(fields)
    else:
        assert outcome.partition("[")[0].partition(".")[0] in fields


def outcome_of(fields):
    """The controls, or the field that is refused."""
    try:
        return controls(cut(msgspec.json.encode(fields)), "m")
    except InvalidRequest as error:
        return error.param


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fallbacks", ["m"] * 101),
        ("fallbacks", [{"m": ["a"] * 51}, {"*": ["b"] * 50}]),
        ("context_window_fallbacks", [{f"m{number}": ["a"]} for number in range(101)]),
        ("content_policy_fallbacks", [{"m": ["a"] * 101}]),
    ],
)
def test_a_request_names_no_more_than_a_hundred_fallbacks(name, value):
    """Each may be an attempt: one request would make the work of thousands."""
    with pytest.raises(InvalidRequest) as caught:
        found(**{name: value})

    assert (caught.value.status, caught.value.param) == (400, name)
    assert "more than 100" in caught.value.message
