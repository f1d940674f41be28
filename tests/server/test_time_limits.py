"""Time limits of a model and of a request: which one holds, whose it was, and what the caller is told."""

import asyncio
import json

import pytest

from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import REQUEST, RawBackend
from tests.fakes.turned_clock import TurnedLoop
from tests.server.conftest import chat
from tests.server.test_lane import connected, post

FIELD_BODY, FIELD_STREAM = "timeout", "stream_timeout"
HEADER, HEADER_STREAM = b"x-litellm-timeout", b"x-litellm-stream-timeout"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OURS, CALLERS = (504, "upstream_timeout"), (408, "request_timeout")
WHOLE, FIRST = "total timeout", "first byte timeout"


def config(raw: RawBackend, params: dict[str, float], more: str = "") -> str:
    """A model of this backend with these parameters, which is asked once."""
    given = {"model": "openai/m", "api_base": f"{raw.backend}/v1", "api_key": "None", **params}
    entry = f"{{model_name: gpt-3.5-turbo, litellm_params: {json.dumps(given)}}}"
    return f"model_list: [{entry}]\nrouter_settings: {{num_retries: 0}}\n{more}"


async def limited(params=None, fields=None, headers=b"", *, stream=False, script=(), more=""):
    """Status, body and seconds of a call to a backend that never answers, or follows this script."""
    async with RawBackend([REQUEST, *script]) as raw:
        async with running_proxy(config(raw, params or {}, more)) as proxy, connected(proxy) as client:
            began = asyncio.get_running_loop().time()
            body = chat(**(fields or {}), **({"stream": True} if stream else {}))
            client.send(post(json.dumps(body).encode(), more=headers))
            status, _, answer = await client.response()
            return status, answer, asyncio.get_running_loop().time() - began


def told(*given, **more):
    """What `limited` comes to on a clock that need not be waited for: status and code, message, seconds."""
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        status, body, took_s = runner.run(limited(*given, **more))
    error = json.loads(body)["error"]
    return (status, error["code"]), error["message"], took_s


@pytest.mark.parametrize(
    ("params", "fields", "headers", "stream", "whose", "limit_s", "name"),
    [
        ({}, {}, b"", False, OURS, 600, WHOLE),
        ({}, {}, b"", True, OURS, 600, FIRST),
        ({"timeout": 7}, {}, b"", False, OURS, 7, WHOLE),
        ({"timeout": 7}, {}, b"", True, OURS, 7, FIRST),
        ({"timeout": 7, "stream_timeout": 4}, {}, b"", True, OURS, 4, FIRST),
        ({"timeout": 7, "stream_timeout": 4}, {}, b"", False, OURS, 7, WHOLE),
        ({"timeout": 7}, {"timeout": 3}, b"", False, CALLERS, 3, WHOLE),
        ({"timeout": 7}, {"timeout": 9}, b"", False, CALLERS, 9, WHOLE),
        ({"timeout": 7}, {"timeout": 3}, b"", True, CALLERS, 3, FIRST),
        ({"timeout": 7}, {"timeout": 3, "stream_timeout": 2}, b"", True, CALLERS, 2, FIRST),
        ({"timeout": 7}, {"stream_timeout": 2}, b"", False, OURS, 7, WHOLE),
        ({"timeout": 7}, {}, HEADER + b": 3\r\n", False, CALLERS, 3, WHOLE),
        ({"timeout": 7}, {}, HEADER + b": 3\r\n", True, CALLERS, 3, FIRST),
        ({"timeout": 7}, {}, HEADER_STREAM + b": 2\r\n", True, CALLERS, 2, FIRST),
        ({"timeout": 7}, {}, HEADER_STREAM + b": 2\r\n", False, OURS, 7, WHOLE),
        ({"timeout": 7}, {"timeout": 5}, HEADER + b": 3\r\n", False, CALLERS, 5, WHOLE),
    ],
)
def test_nearest_limit_holds_and_the_error_says_whose_it_was(params, fields, headers, stream, whose, limit_s, name):
    """The request's over the model's over ours; 504 for our timers, 408 for the caller's, each with its name."""
    if limit_s > 30:
        given = told(params, fields, headers, stream=stream, more="general_settings: {early_commit_seconds: 0}\n")
    else:
        given = told(params, fields, headers, stream=stream)
    found, message, took_s = given

    assert found == whose
    assert f"within {limit_s} s ({name})" in message
    assert limit_s - 0.1 <= took_s <= limit_s + 1.5


@pytest.mark.parametrize(("fields", "code"), [({}, "upstream_timeout"), ({"timeout": 50}, "request_timeout")])
def test_limit_of_a_stream_that_was_begun_early_is_told_in_it(fields, code):
    """No status is left for it, and the code still says whose limit it was."""
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        status, body, _ = runner.run(limited({"timeout": 60}, fields, stream=True))

    error, mark = [line for line in body.decode().split("\n") if line.startswith("data: ")]
    assert (status, mark) == (200, "data: [DONE]")
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == code
    assert "(first byte timeout)" in error


@pytest.mark.parametrize("fields", [{}, {"timeout": 3}])
def test_gap_between_two_events_is_always_our_limit(fields):
    """A caller limits the wait for an answer; a stream that goes on may take its time."""
    event = b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    script = [HEAD, b"%x\r\n%s\r\n" % (len(event), event)]
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        status, body, took_s = runner.run(limited({}, fields, stream=True, script=script))

    assert status == 200
    assert b"within 120 s (gap timeout)" in body
    assert b'"upstream_timeout"' in body
    assert took_s >= 119


def test_litellms_status_for_our_own_limit_is_had_for_the_asking():
    """There a limit of the proxy is a 408, too."""
    (status, _), _, _ = told({"timeout": 1}, more="general_settings: {compat: litellm}\n")

    assert status == 408


@pytest.mark.parametrize("name", [HEADER, HEADER_STREAM])
@pytest.mark.parametrize("value", [b"0", b"-1", b"soon", b"1e9", b"nan"])
def test_limit_that_is_no_time_is_refused(name, value):
    """With the name of the header."""
    (status, _), message, _ = told({}, {}, name + b": " + value + b"\r\n")

    assert status == 400
    assert name.decode() in message
