"""Which headers cross."""

import pytest

from proxy_cli.providers.headers import bearer, reply_headers, request_headers
from proxy_cli.secret import Secret
from proxy_cli.shapes import Operation

CLIENT = (
    ("host", "proxy:4000"),
    ("authorization", "Bearer sk-client"),
    ("x-api-key", "sk-client"),
    ("x-litellm-api-key", "sk-client"),
    ("x-goog-api-key", "sk-client"),
    ("api-key", "sk-client"),
    ("cookie", "a=b"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "12"),
    ("connection", "keep-alive"),
    ("accept", "application/json"),
    ("user-agent", "curl/8"),
    ("traceparent", "00-1-2-01"),
    ("tracestate", "a=1"),
    ("baggage", "k=v"),
    ("x-team", "blue"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-stainless-os", "Linux"),
    ("x-litellm-tags", "a"),
    ("x-auth-token", "secret"),
    ("anthropic-beta", "tools"),
    ("openai-beta", "assistants=v2"),
    ("openai-organization", "org-client"),
)


def test_request_has_what_the_call_needs_and_no_more(make_call, make_deployment):
    """Of the caller's headers only content type, accept and traces reach a backend, beside its own key."""
    got = request_headers(make_call(headers=CLIENT), make_deployment(), (("authorization", "Bearer k"),))

    assert [name for name, _ in got] == [
        "content-type",
        "accept",
        "user-agent",
        "authorization",
        "traceparent",
        "tracestate",
        "baggage",
    ]
    assert dict(got)["content-type"] == "application/json; charset=utf-8"
    assert dict(got)["authorization"] == "Bearer k"
    assert dict(got)["user-agent"].startswith("llmproxy/")


def test_request_forwards_client_headers_only_on_demand_and_never_credentials(make_call, make_deployment):
    """With forward_client_headers the caller's own headers go along; keys, cookies and hops do not."""
    got = dict(request_headers(make_call(headers=CLIENT), make_deployment(forward_client_headers=True), ()))

    assert {name for name in got if name in dict(CLIENT)} == {
        "content-type",
        "accept",
        "user-agent",
        "traceparent",
        "tracestate",
        "baggage",
        "x-team",
        "anthropic-beta",
        "openai-beta",
    }
    assert got["user-agent"] != "curl/8"
    assert "sk-client" not in repr(got)


@pytest.mark.parametrize(
    "carrier", ["authorization", "x-api-key", "api-key", "ocp-apim-subscription-key", "x-team-key"]
)
@pytest.mark.parametrize(("name", "value"), [("x-note", "{}"), ("x-note", "Bearer {}"), ("baggage", "user={},a=b")])
def test_request_never_forwards_the_callers_key_by_another_name(make_call, make_deployment, carrier, name, value):
    """What a header with a key holds is kept back in every other header too."""
    key = "sk-client-0123456789"
    headers = ((carrier, f"Bearer {key}"), (name, value.format(key)), ("x-team", "blue"))

    got = request_headers(make_call(headers=headers), make_deployment(forward_client_headers=True), ())

    assert key not in repr(got)
    assert ("x-team", "blue") in got


@pytest.mark.parametrize("word", ["None", "", "a"])
def test_request_takes_no_short_word_for_a_key(make_call, make_deployment, word):
    """A placeholder in Authorization does not take ordinary headers away."""
    headers = (("authorization", f"Bearer {word}"), ("x-team", "None of a"))

    got = request_headers(make_call(headers=headers), make_deployment(forward_client_headers=True), ())

    assert ("x-team", "None of a") in got


def test_request_takes_the_deployments_headers_over_all(make_call, make_deployment):
    """What the configuration sets stands once and wins, the key included."""
    target = make_deployment(headers=(("authorization", "Basic x"), ("accept", "*/*"), ("x-own", "1")))

    got = request_headers(make_call(headers=CLIENT), target, (("authorization", "Bearer k"),))

    assert [value for name, value in got if name == "authorization"] == ["Basic x"]
    assert [value for name, value in got if name == "accept"] == ["*/*"]
    assert ("x-own", "1") in got


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"organization": "org-ours"}, "org-ours"),
        ({"forward_organization": True}, "org-client"),
        ({"organization": "org-ours", "forward_organization": True}, "org-client"),
        ({"forward_client_headers": True}, None),
    ],
)
def test_request_names_the_organization_that_is_configured(make_call, make_deployment, settings, expected):
    """The deployment's organization, or the caller's where that is allowed."""
    got = dict(request_headers(make_call(headers=CLIENT), make_deployment(**settings), ()))

    assert got.get("openai-organization") == expected


@pytest.mark.parametrize(
    ("operation", "fields", "accept"),
    [
        (Operation.CHAT, {}, "application/json"),
        (Operation.CHAT, {"stream": True}, "text/event-stream"),
        (Operation.SPEECH, {}, "*/*"),
    ],
)
def test_request_says_what_it_accepts_and_sends(make_call, make_deployment, operation, fields, accept):
    """A caller who says nothing still gets what the endpoint answers with; a body read as JSON is sent as JSON."""
    call = make_call(operation, headers=(("content-type", "application/x-www-form-urlencoded"),), **fields)

    got = dict(request_headers(call, make_deployment(), ()))

    assert got["accept"] == accept
    assert got["content-type"] == "application/json"


def test_bearer_sends_the_word_none_and_nothing_without_a_key(make_deployment):
    """`api_key: None` in YAML is a text and is sent; no key is no header."""
    assert bearer(make_deployment(api_key=Secret("None"))) == (("authorization", "Bearer None"),)
    assert bearer(make_deployment(api_key=None)) == ()
    assert bearer(make_deployment(api_key=Secret(""))) == ()


def test_reply_headers_come_back_marked_as_the_backends():
    """Each with the prefix; limits, request-id and content type also as they are; what was for the connection, not."""
    got = reply_headers(
        (
            ("content-type", "application/json"),
            ("content-length", "5"),
            ("content-encoding", "br"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("set-cookie", "session=1"),
            ("x-ratelimit-remaining-requests", "7"),
            ("x-request-id", "abc"),
            ("request-id", "req_1"),
        )
    )

    assert got == (
        ("content-type", "application/json"),
        ("llm_provider-content-type", "application/json"),
        ("x-ratelimit-remaining-requests", "7"),
        ("llm_provider-x-ratelimit-remaining-requests", "7"),
        ("llm_provider-x-request-id", "abc"),
        ("request-id", "req_1"),
        ("llm_provider-request-id", "req_1"),
    )


def test_reply_headers_have_one_content_type_and_are_written_as_they_were_read():
    """A second content type would leave open which holds; UTF-8 that was read byte by byte is UTF-8 again."""
    got = reply_headers(
        (
            ("content-type", "application/json"),
            ("content-type", "text/html"),
            ("x-name", "café".encode().decode("latin-1")),
            ("x-odd", "\xff"),
        )
    )

    assert [value for name, value in got if name == "content-type"] == ["application/json"]
    assert ("llm_provider-x-name", "café") in got
    assert ("llm_provider-x-odd", "\ufffd") in got
