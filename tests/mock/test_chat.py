"""Answers to chat and text completions: the same each time, and of the right shape."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.mock import chat
from proxy_cli.mock.faults import NO_FAULTS, Faults
from proxy_cli.shapes import Json

TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "clock"}},
]


def reply(text: str, faults: Faults = NO_FAULTS, **body: Json) -> chat.Reply:
    return chat.reply({"model": "m", **body}, text, faults)


@given(st.text())
def test_pieces_joined_are_the_text(text):
    """No character is lost or changed by cutting a text into tokens."""
    assert "".join(chat.pieces_of(text)) == text


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "a"),
        ([{"role": "user", "content": [{"type": "text", "text": "日"}, {"type": "image_url"}, "本"]}], "日本"),
        ([{"role": "user", "content": "a"}, {"role": "tool", "content": "12℃"}], "12℃"),
        ([{"role": "system", "content": "a"}], ""),
        ("nothing", ""),
        (None, ""),
    ],
)
def test_last_user_text_is_found_in_every_form(messages, text):
    """The last message of a user or a tool counts, as a text or in parts."""
    assert chat.last_user_text(messages) == text


def test_stream_says_what_the_plain_answer_says():
    """The deltas of each choice joined are the plain answer's content; the last event has the usage."""
    answer = reply("こんにちは世界", n=2)
    *events, last = chat.chat_chunks(answer, with_usage=True)

    for index in range(2):
        deltas = [choice for event in events for choice in event["choices"] if choice["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in deltas) == "こんにちは世界"
        assert deltas[-1]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert last["usage"] == chat.chat_completion(answer)["usage"]


@pytest.mark.parametrize(
    ("text", "body", "faults", "called"),
    [
        ("what says the clock?", {}, NO_FAULTS, "clock"),
        ("hello", {}, NO_FAULTS, None),
        ("hello", {"tool_choice": "required"}, NO_FAULTS, "weather"),
        ("hello", {"tool_choice": {"type": "function", "function": {"name": "clock"}}}, NO_FAULTS, "clock"),
        ("clock", {"tool_choice": "none"}, NO_FAULTS, None),
        ("hello", {}, Faults(tool="clock"), "clock"),
    ],
)
def test_tool_is_called_when_prompt_choice_or_directive_ask(text, body, faults, called):
    """A named tool, a forced one or a directive's is called; else the answer is text."""
    answer = reply(text, faults, tools=TOOLS, **body)

    assert (answer.tool[0] if answer.tool else None) == called


def test_streamed_arguments_joined_are_the_plain_ones():
    """A tool call in pieces has the same id, name and arguments as in one."""
    answer = reply("weather", tools=TOOLS)
    calls = [event["choices"][0]["delta"].get("tool_calls") for event in chat.chat_chunks(answer, with_usage=False)]
    parts = [call[0] for call in calls if call]
    plain = chat.chat_completion(answer)["choices"][0]["message"]["tool_calls"][0]

    assert parts[0]["id"] == plain["id"]
    assert "".join(part["function"]["arguments"] for part in parts) == plain["function"]["arguments"]
    assert json.loads(plain["function"]["arguments"]) == {"city": "text"}


def test_answer_follows_format_size_and_limit():
    """A JSON answer for a JSON format, as many characters as asked, and no more tokens than allowed."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "l": {"type": "array", "items": {"const": 1}}}}
    shaped = {"type": "json_schema", "json_schema": {"schema": schema}}

    assert json.loads(reply("日", response_format={"type": "json_object"}).text) == {"echo": "日"}
    assert json.loads(reply("x", response_format=shaped).text) == {"n": 1, "l": [1]}
    assert len(reply("x", Faults(size=1234)).text) == 1234
    assert len(reply("a long answer that is cut", max_tokens=2).pieces) == 2


def test_reasoning_comes_first_and_is_counted():
    """Reasoning stands in its own field, in streams before the content, and among the completion's tokens."""
    answer = reply("ok", Faults(reasoning="考える"))
    deltas = [event["choices"][0]["delta"] for event in chat.chat_chunks(answer, with_usage=False)]

    assert deltas[1] == {"reasoning_content": "考える"}
    assert chat.chat_completion(answer)["choices"][0]["message"]["reasoning_content"] == "考える"
    assert answer.usage["completion_tokens_details"]["reasoning_tokens"] == 1


def test_usage_can_be_left_out():
    """A backend that counts nothing says nothing of usage, plain or streamed."""
    answer = reply("x", Faults(no_usage=True))

    assert "usage" not in chat.chat_completion(answer)
    assert "usage" not in chat.completion(answer)
    assert all("usage" not in event for event in chat.completion_chunks(answer, with_usage=True))


def test_text_completion_stream_joined_is_the_plain_text():
    """The older endpoint's events say the same as its plain answer."""
    answer = reply("one two three")
    events = chat.completion_chunks(answer, with_usage=False)

    assert "".join(event["choices"][0]["text"] for event in events) == chat.completion(answer)["choices"][0]["text"]


def test_example_of_a_schema_that_holds_itself_ends():
    """A schema without end gets an example with one."""
    schema: Json = {"type": "object", "properties": {}}
    schema["properties"]["again"] = schema

    assert "again" in chat.example(schema)
