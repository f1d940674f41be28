"""What backends' errors say."""

import json

import pytest

from proxy_cli.errors import BackendBroken, BackendError, StreamOptionsRefused
from proxy_cli.providers.refusals import failure, not_json
from proxy_cli.secret import Secret

JSON = (("content-type", "application/json"),)
EVENTS = (("content-type", "text/event-stream"),)


@pytest.mark.parametrize(
    ("body", "message", "kind", "code", "param"),
    [
        (
            {"error": {"message": "no such model", "type": "t", "param": "model", "code": "c"}},
            "no such model",
            "t",
            "c",
            "model",
        ),
        ({"error": {"message": "slow", "type": None, "code": 429}}, "slow", "invalid_request_error", "429", None),
        ({"error": "model 'x' not found"}, "model 'x' not found", "invalid_request_error", None, None),
        (
            {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
            "too long",
            "BadRequestError",
            "400",
            None,
        ),
        ({"detail": "Not here"}, "Not here", "invalid_request_error", None, None),
        (
            {"detail": [{"loc": ["body", "messages", 0], "msg": "field required"}, {"msg": "and more"}]},
            "body.messages.0: field required; and more",
            "invalid_request_error",
            None,
            None,
        ),
        ({"detail": {"error": "deep"}}, "deep", "invalid_request_error", None, None),
        ([{"error": {"message": "in a list", "code": 400}}], "in a list", "invalid_request_error", "400", None),
        ({"fault": {"x": 1}}, '{"fault":{"x":1}}', "invalid_request_error", None, None),
        ({"error": {"why": "odd"}}, '{"why":"odd"}', "invalid_request_error", None, None),
        ({}, "http://localhost:20080 answered 400 without a message", "invalid_request_error", None, None),
    ],
)
def test_failure_keeps_the_backends_words(make_call, make_deployment, body, message, kind, code, param):
    """OpenAI's envelope, the same without it, FastAPI's detail, lists of such, and what nobody has seen before."""
    error = failure(make_call(), make_deployment(), 400, JSON, json.dumps(body).encode())

    assert isinstance(error, BackendError)
    assert (error.status, error.message, error.kind, error.code, error.param) == (400, message, kind, code, param)


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"error": {"message": "busy", "code": "c"}}\n\ndata: [DONE]\n\n',
        b'event: error\r\ndata:{"error":{"message":"busy","code":"c"}}',
    ],
)
def test_failure_reads_an_error_that_came_as_an_event(make_call, make_deployment, body):
    """Some servers, asked for a stream, send their refusal as its first event."""
    error = failure(make_call(), make_deployment(), 500, EVENTS, body)

    assert (error.message, error.code) == ("busy", "c")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "backend_error"),
        (529, "backend_error"),
    ],
)
def test_failure_keeps_the_backends_status(make_call, make_deployment, status, kind):
    """The status is the backend's; the kind follows from it where the body has none."""
    error = failure(make_call(), make_deployment(), status, (), b"")

    assert (error.status, error.kind) == (status, kind)
    assert error.message == f"http://localhost:20080 answered {status} without a message"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html><head><title>x</title></head><body><h1>502 Bad Gateway</h1><p>nginx</p>", "502 Bad Gateway nginx"),
        (b"<script>steal()</script><b>down</b>", "down"),
        (b"<head><title>x</title><body>down", "down"),
        (b"down<!-- and the comment never ends", "down"),
        (b"down" + b"<script " * 16_000, "down"),
        (b"down" + b"<!--" * 16_000, "down"),
        (b"&lt;script&gt;alert(1)&lt;/script&gt;<br>tea &amp; cake", "alert(1) tea & cake"),
        (b"upstream connect error", "upstream connect error"),
        (b'"quoted"', "quoted"),
        ("\u6df7\u96d1\u3057\u3066\u3044\u307e\u3059".encode(), "\u6df7\u96d1\u3057\u3066\u3044\u307e\u3059"),
        (b"\xff\xfe broken", "\ufffd\ufffd broken"),
    ],
)
def test_failure_shows_text_without_markup(make_call, make_deployment, body, expected):
    """A page for a browser becomes its words."""
    assert failure(make_call(), make_deployment(), 502, (), body).message == expected


def test_failure_cuts_long_text(make_call, make_deployment):
    """A page is cut at 300 characters, also one inside of JSON."""
    for body in (b"<p>" + b"word " * 5000, json.dumps({"error": "<p>" + "word " * 5000}).encode()):
        message = failure(make_call(), make_deployment(), 500, (), body).message

        assert len(message) == 300
        assert "<" not in message


@pytest.mark.row("A-39")
@pytest.mark.parametrize("before", [0, 280, 290, 299])
def test_failure_never_repeats_a_key(make_call, make_deployment, before):
    """A key that the backend echoes is masked wherever it stands, also where the text is cut."""
    key, token = "sk-backend-0123456789", "tok-abcdefgh"
    target = make_deployment(api_key=Secret(key), headers=(("authorization", f"Bearer {token}"),))
    said = {"message": "x" * before + f" {key} and {token}", "type": key, "code": token, "param": key}

    for body in (json.dumps({"error": said}).encode(), f"{'x' * before} {key} {token}".encode()):
        error = failure(make_call(), target, 401, (("x-echo", key),), body)
        shown = repr((error.message, error.kind, error.code, error.param, error.headers))
        assert key[:12] not in shown
        assert token[:6] not in shown


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("retry-after", "7"),), 7.0),
        ((("retry-after", "0.5"),), 0.5),
        ((("retry-after-ms", "1500"), ("retry-after", "2")), 1.5),
        ((("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT"), ("date", "Wed, 21 Oct 2026 07:28:00 GMT")), 30.0),
        ((("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), ("date", "Wed, 21 Oct 2026 07:28:30 GMT")), 0.0),
        ((("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT"),), None),
        ((("retry-after", "99999999"),), 86400.0),
        ((("retry-after", "soon"),), None),
        ((("retry-after", "-1"),), None),
        ((("retry-after", "nan"),), None),
        ((), None),
    ],
)
def test_failure_keeps_how_long_to_wait(make_call, make_deployment, headers, seconds):
    """Seconds, milliseconds or a date beside the reply's own; nonsense is nothing."""
    error = failure(make_call(), make_deployment(), 429, headers, b"")

    assert error.retry_after_s == seconds


def test_failure_brings_the_backends_headers_but_its_content_type(make_call, make_deployment):
    """Rate limits are of use also with an error, whose body is ours."""
    headers = (*JSON, ("x-ratelimit-remaining-tokens", "0"))

    error = failure(make_call(), make_deployment(), 429, headers, b"{}")

    assert ("x-ratelimit-remaining-tokens", "0") in error.headers
    assert "content-type" not in dict(error.headers)


@pytest.mark.parametrize("word", ["stream_options", "include_usage"])
@pytest.mark.parametrize("status", [400, 422])
def test_failure_over_our_own_stream_options_is_told_apart(make_call, make_deployment, word, status):
    """A backend that names the field we added can be asked again without it."""
    body = json.dumps({"error": {"message": f"Unrecognized argument: {word}"}}).encode()
    target = make_deployment()

    assert isinstance(failure(make_call(stream=True), target, status, JSON, body), StreamOptionsRefused)
    for other in (
        make_call(),
        make_call(stream=True, stream_options={"include_usage": True}),
        make_call(stream=True, stream_options={"include_usage": False}),
    ):
        assert type(failure(other, target, status, JSON, body)) is BackendError
    assert type(failure(make_call(stream=True), target, status, JSON, b'{"error":"no"}')) is BackendError


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:secret@other.example:8443/x?key=secret", "https://other.example:8443"),
        ("/login?next=secret", "a redirect;"),
        ("http://[secret", "a redirect;"),
        ("", "a redirect;"),
    ],
)
def test_failure_of_a_redirect_is_ours_and_shows_no_secret(make_call, make_deployment, location, shown):
    """A redirect is not followed: the key was meant for one host. The message says where to, and no more."""
    error = failure(make_call(), make_deployment(), 302, (("location", location),), b"")

    assert isinstance(error, BackendBroken)
    assert (error.status, error.code) == (502, "upstream_redirect")
    assert shown in error.message
    assert "secret" not in error.message


def test_not_json_says_what_came_instead(make_deployment):
    """A page with status 200 is an error that shows its words, without the key in it."""
    target = make_deployment()

    page = not_json(target, 200, (("content-type", "text/html; charset=utf-8"),), b"<h1>Log in sk-backend-0123456789")
    empty = not_json(target, 200, (), b" \n")

    assert page.code == empty.code == "upstream_invalid_json"
    assert page.message == "http://localhost:20080 answered 200 with a body that is not JSON (text/html): Log in ***"
    assert empty.message == "http://localhost:20080 answered 200 with an empty body"
