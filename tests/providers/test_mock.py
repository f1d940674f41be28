"""Deployments that answer by themselves."""

import json

import pytest

from proxy_cli.errors import BackendTimeout, BackendUnreachable, GatewayError
from proxy_cli.providers.mock import Mock
from proxy_cli.shapes import Operation, Usage, first_header


def test_mock_says_its_text(make_call, make_deployment):
    """A text is what the model says, under the name asked for, at 10 and 20 tokens."""
    call, target = make_call(), make_deployment(mock_response="こんにちは")

    reply = Mock().prepare(call, target, ask_usage=True)
    answer = Mock().read(call, target, reply.status, reply.headers, reply.body)
    body = json.loads(answer.body)

    assert answer.status == 200
    assert answer.headers == (("content-type", "application/json"),)
    assert body["model"] == "gpt-3.5-turbo"
    assert body["object"] == "chat.completion"
    assert body["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "こんにちは"}, "finish_reason": "stop"}
    ]
    assert body["usage"] == {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    assert answer.usage == Usage(prompt_tokens=10, completion_tokens=20)


@pytest.mark.parametrize("wants", [True, False])
def test_mock_streams_its_text(make_call, make_deployment, wants):
    """The pieces make up the text, the usage chunk is for who asked, and the end mark is the end."""
    call = make_call(stream=True, **({"stream_options": {"include_usage": True}} if wants else {}))
    target = make_deployment(mock_response="The quick brown fox 狐")

    reply = Mock().prepare(call, target, ask_usage=True)
    reader = Mock().stream_reader(call, target)
    seen = [json.loads(each[6:]) for each in map(reader.feed, reply.chunks) if each.startswith(b"data: {")]

    assert first_header(reply.headers, "content-type") == "text/event-stream; charset=utf-8"
    text = "".join(each["choices"][0]["delta"].get("content") or "" for each in seen if each["choices"])
    assert text == "The quick brown fox 狐"
    assert seen[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [each for each in seen if each["choices"]][-1]["choices"][0]["finish_reason"] == "stop"
    assert ("usage" in seen[-1]) is wants
    assert reader.usage == Usage(prompt_tokens=10, completion_tokens=20)
    assert reader.finished


def test_mock_sends_an_object_as_it_is(make_call, make_deployment):
    """An object is the body, model and all."""
    body = {"model": "other", "choices": [], "usage": {"prompt_tokens": 1}}
    target = make_deployment(mock_response=body)

    reply = Mock().prepare(make_call(), target, ask_usage=True)
    answer = Mock().read(make_call(), target, reply.status, reply.headers, reply.body)

    assert json.loads(answer.body) == body
    assert answer.usage == Usage(prompt_tokens=1)


def test_mock_streams_an_object_as_events(make_call, make_deployment):
    """For a stream the object's choices come as deltas, tool calls with an index of their own."""
    tool = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [tool]}
    body = {"id": "c", "model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}]}

    reply = Mock().prepare(make_call(stream=True), make_deployment(mock_response=body), ask_usage=True)
    deltas = [json.loads(each[6:])["choices"][0] for each in reply.chunks[:-1]]

    assert deltas[0]["delta"] == {"role": "assistant", "content": None}
    assert deltas[1]["delta"] == {"tool_calls": [{"index": 0, **tool}]}
    assert deltas[-1]["finish_reason"] == "tool_calls"
    assert reply.chunks[-1] == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("litellm.RateLimitError", 429, "rate_limit_exceeded"),
        ("litellm.InternalServerError", 500, None),
        ("litellm.ContextWindowExceededError", 400, "context_length_exceeded"),
        ("litellm.ContentPolicyViolationError", 400, "content_policy_violation"),
        ("litellm.AuthenticationError", 401, "invalid_api_key"),
        ("litellm.BadRequestError", 400, None),
        ("litellm.NotFoundError", 404, "model_not_found"),
        ("litellm.PermissionDeniedError", 403, None),
        ("litellm.UnprocessableEntityError", 422, None),
        ("litellm.BadGatewayError", 502, None),
        ("litellm.APIError", 500, None),
        ("litellm.ServiceUnavailableError", 503, None),
    ],
)
def test_mock_raises_the_error_it_is_told_to(make_call, make_deployment, name, status, code):
    """The name of an exception is that error, with words of one's own after a colon."""
    with pytest.raises(GatewayError) as plain:
        Mock().prepare(make_call(), make_deployment(mock_response=name), ask_usage=True)
    with pytest.raises(GatewayError) as worded:
        Mock().prepare(make_call(stream=True), make_deployment(mock_response=f"{name}: so busy"), ask_usage=True)

    assert (plain.value.status, plain.value.code) == (status, code)
    assert plain.value.message == f"mock_response: {name}"
    assert worded.value.message == "so busy"


@pytest.mark.parametrize(
    ("name", "kind"), [("litellm.Timeout", BackendTimeout), ("litellm.APIConnectionError", BackendUnreachable)]
)
def test_mock_raises_what_the_network_would(make_call, make_deployment, name, kind):
    """A timeout and a refused connection are what the gateway knows them as."""
    with pytest.raises(kind):
        Mock().prepare(make_call(), make_deployment(mock_response=name), ask_usage=True)


@pytest.mark.parametrize("text", ["litellm.NoSuchError", "RateLimitError", "I like litellm.RateLimitError"])
def test_mock_says_what_is_no_error(make_call, make_deployment, text):
    """Only a known name at the start is an error; anything else is said."""
    reply = Mock().prepare(make_call(), make_deployment(mock_response=text), ask_usage=True)

    assert json.loads(reply.body)["choices"][0]["message"]["content"] == text


def test_mock_speech_is_sound_both_ways(make_call, make_deployment):
    """Sound is relayed as it comes, so the reply has it whole and as a piece."""
    reply = Mock().prepare(make_call(Operation.SPEECH), make_deployment(mock_response="x"), ask_usage=True)

    assert reply.headers == (("content-type", "audio/wav"),)
    assert reply.body.startswith(b"RIFF")
    assert reply.chunks == (reply.body,)


def test_mock_takes_other_values_as_their_text(make_call, make_deployment):
    """A number in YAML is what the model says, too."""
    reply = Mock().prepare(make_call(), make_deployment(mock_response=42), ask_usage=True)

    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "42"


def test_mock_returns_headers_without_a_provider():
    """There is no provider whose headers they could be."""
    assert Mock().reply_headers((("content-type", "a"),)) == (("content-type", "a"),)
