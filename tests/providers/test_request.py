"""One request to a backend."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import GatewayError
from proxy_cli.providers.request import request_to, timeouts
from proxy_cli.providers.table import provider_for
from proxy_cli.shapes import Backend, Operation, Timeouts
from tests.providers.conftest import call_of, deployment_of


def test_request_is_put_together_from_call_and_deployment(make_call, make_deployment):
    """The backend is the deployment's, the path and the credentials are the dialect's."""
    target = make_deployment()

    request = request_to(
        make_call(stream=True),
        target,
        target=lambda operation, deployment: f"/v1/{deployment.model}/{operation}",
        credentials=lambda deployment: (("api-key", deployment.id),),
        ask_usage=False,
    )

    assert (request.backend, request.target, request.method, request.stream) == (
        target.backend,
        "/v1/vicuna-13b/chat/completions",
        "POST",
        True,
    )
    assert ("api-key", "d1") in request.headers
    assert request.body == b'{"model":"vicuna-13b","stream":true}'


@pytest.mark.parametrize(
    ("asked", "configured", "expected"),
    [
        ({}, {}, Timeouts()),
        ({}, {"timeout_s": 9.0}, Timeouts(first_byte_s=9.0, total_s=9.0)),
        ({}, {"timeout_s": 2.0}, Timeouts(connect_s=2.0, first_byte_s=2.0, total_s=2.0)),
        ({}, {"stream_timeout_s": 9.0}, Timeouts()),
        ({"timeout": 8}, {"timeout_s": 9.0}, Timeouts(first_byte_s=8.0, total_s=8.0, set_by_caller=True)),
        ({"stream": True}, {}, Timeouts(total_s=None)),
        ({"stream": True}, {"timeout_s": 9.0}, Timeouts(first_byte_s=9.0, total_s=None)),
        ({"stream": True}, {"timeout_s": 9.0, "stream_timeout_s": 7.0}, Timeouts(first_byte_s=7.0, total_s=None)),
        ({"stream": True}, {"timeout_s": 300.0}, Timeouts(first_byte_s=300.0, total_s=None, gap_s=300.0)),
        ({}, {"timeout_s": 900.0}, Timeouts(first_byte_s=900.0, total_s=900.0)),
        (
            {"stream": True, "timeout": 8, "stream_timeout": 6},
            {"stream_timeout_s": 7.0},
            Timeouts(first_byte_s=6.0, total_s=None, set_by_caller=True),
        ),
        (
            {"stream": True, "timeout": 8},
            {"stream_timeout_s": 7.0},
            Timeouts(first_byte_s=8.0, total_s=None, set_by_caller=True),
        ),
    ],
)
def test_timeouts_are_the_callers_else_the_deployments_else_ours(
    make_call, make_deployment, asked, configured, expected
):
    """Whoever is nearer to the call decides, and a stream is never limited as a whole."""
    assert timeouts(make_call(**asked), make_deployment(**configured)) == expected


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.booleans(),
        "stream_options": st.sampled_from([None, {}, {"include_usage": True}, {"include_usage": False, "x": 1}]),
        "temperature": st.just(0.5),
        "max_tokens": st.just(7),
        "tools": st.just([{"type": "function", "function": {"name": "f"}}]),
        "timeout": st.just(3),
        "drop_params": st.booleans(),
        "additional_drop_params": st.just(["temperature"]),
        "user": st.just("me"),
    },
)
HEADERS = st.lists(
    st.sampled_from(
        [
            ("accept", "text/event-stream"),
            ("accept", "*/*"),
            ("content-type", "application/json; charset=utf-8"),
            ("content-type", "text/plain"),
            ("traceparent", "00-1-2-01"),
            ("x-team", "blue"),
            ("openai-organization", "org-client"),
        ]
    ),
    max_size=4,
).map(tuple)
OPERATIONS = st.sampled_from([Operation.CHAT, Operation.EMBEDDINGS, Operation.RESPONSES])
DEPLOYMENTS = st.sampled_from(
    [
        {},
        {"api_key": None, "timeout_s": 9.0, "stream_timeout_s": 5.0},
        {"defaults": {"temperature": 1}, "headers": (("accept", "x/y"), ("x-own", "1"))},
        {"refuses": frozenset({"temperature"}), "drop_params": True, "additional_drop_params": ("user",)},
        {"forward_client_headers": True, "organization": "org-own"},
        {"forward_organization": True, "provider": "mistral"},
        {"backend": Backend("https", "api.openai.com", 443), "model": "o3", "drop_params": True},
        {"add_function_to_prompt": True},
        {"provider": "azure"},
    ]
)


def outcome(provider, call, target, ask_usage):
    try:
        return provider.prepare(call, target, ask_usage=ask_usage)
    except GatewayError as error:
        return error.message


@given(DEPLOYMENTS, st.lists(st.tuples(OPERATIONS, HEADERS, FIELDS, st.booleans()), max_size=6))
def test_a_deployment_is_asked_the_same_whatever_it_was_asked_before(settings, calls):
    """What is worked out once for all of its calls holds for each of them."""
    used = deployment_of(**settings)
    provider = provider_for(used)

    for operation, headers, fields, ask_usage in calls:
        call = call_of(operation, headers=headers, **fields, messages=[])
        fresh = replace(used)
        assert outcome(provider, call, used, ask_usage) == outcome(provider, call, fresh, ask_usage)


def test_the_first_of_two_headers_counts_each_time(make_call, make_deployment):
    """What was sent for an earlier caller says nothing of the next one."""
    target = make_deployment()

    for first, second in (("a/1", "b/2"), ("b/2", "a/1")):
        call = make_call(headers=(("accept", first), ("accept", second)))
        request = provider_for(target).prepare(call, target, ask_usage=True)
        assert [value for name, value in request.headers if name == "accept"] == [first]


def test_a_deployment_keeps_no_more_of_its_callers_than_it_needs(make_call, make_deployment):
    """Whoever makes up a new header for each request fills no memory, and is served as well."""
    target = make_deployment()

    for number in range(100):
        request = provider_for(target).prepare(
            make_call(headers=(("accept", f"text/x{number}"),)), target, ask_usage=True
        )
        assert ("accept", f"text/x{number}") in request.headers

    assert sum(len(kept) for kept in target.worked_out.values() if isinstance(kept, dict)) <= 32
