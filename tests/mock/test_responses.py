"""The Responses dialect: events that add up to the whole response."""

import pytest

from proxy_cli.mock import chat, responses
from proxy_cli.mock.faults import NO_FAULTS, Faults
from proxy_cli.shapes import Json


def answer(text: str = "こんにちは世界", **body: Json) -> chat.Reply:
    return chat.reply({"model": "m", **body}, text, NO_FAULTS)


def test_events_add_up_to_the_response():
    """Events are numbered from zero, their deltas are the text, and the last holds the plain response."""
    events = list(responses.response_events(answer()))

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "こんにちは世界"
    assert events[0]["response"]["status"] == "in_progress"
    assert events[-1]["response"] == responses.response(answer())


def test_function_call_comes_in_pieces_and_whole():
    """The Responses form of a tool has no `function` around it; its call streams its arguments."""
    tools = [{"type": "function", "name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}]
    called = answer("weather", tools=tools)
    events = list(responses.response_events(called))

    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    [item] = responses.response(called)["output"]
    assert (item["type"], item["name"]) == ("function_call", "weather")
    assert "".join(deltas) == item["arguments"] == '{"city": "text"}'


def test_usage_is_in_the_dialects_own_words():
    """Input and output tokens with their details, or none where none are counted."""
    counted = responses.response(chat.reply({}, "abcdefgh", Faults(reasoning="think")))["usage"]

    assert (counted["input_tokens"], counted["output_tokens"]) == (2, 4)
    assert counted["output_tokens_details"] == {"reasoning_tokens": 2}
    assert responses.response(chat.reply({}, "a", Faults(no_usage=True)))["usage"] is None


@pytest.mark.parametrize("value", ["hello", [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]])
def test_input_is_a_text_or_items(value):
    """Both forms of `input` say the same."""
    assert responses.input_text(value) == "hello"
