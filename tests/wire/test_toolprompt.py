"""Tools in the prompt: what the model is told, and what its text becomes."""

import json
from typing import Any

import pytest

from proxy_cli.errors import InvalidRequest
from proxy_cli.wire.request import cut
from proxy_cli.wire.splice import object_fields
from proxy_cli.wire.toolcalls import ToolCall
from proxy_cli.wire.toolprompt import call_fields, finish_reason, from_reply, is_legacy, text_of, to_prompt, tool_names

WEATHER = {
    "name": "weather",
    "description": "天気を調べる",
    "parameters": {"type": "object", "properties": {"city": {}}},
}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": {"name": "time"}}]
USER = {"role": "user", "content": "京都の天気は?"}
ASKED_FOR = '{"tool_calls": [{"name": "weather", "arguments": {"city": "京都"}}]}'


def prompted(**request: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(to_prompt(json.dumps({"model": "m", "messages": [USER]} | request).encode()))
    return found


def reply(content: object, **more: object) -> bytes:
    message = {"role": "assistant", "content": content, "reasoning_content": "x"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None} | more
    return json.dumps({"id": "r1", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 1}}).encode()


def test_tools_become_a_system_message():
    """Names, descriptions and schemas, the form of a call, and none of the fields; all else is left."""
    found = prompted(tools=TOOLS, tool_choice="auto", parallel_tool_calls=True, temperature=0.5)
    system = found["messages"][0]

    assert set(found) == {"model", "messages", "temperature"}
    assert system["role"] == "system"
    assert found["messages"][1:] == [USER]
    for words in ("weather", "天気を調べる", '"properties":{"city":{}}', '{"name":"time"}', '{"tool_calls": ['):
        assert words in system["content"]
    assert "plain words" in system["content"]


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize(
    "content", ["あなたは観光ガイドです。", [{"type": "text", "text": "あなたは観光ガイドです。"}], None, ""]
)
def test_a_system_message_that_is_there_is_continued(role, content):
    """Many models take one system message only."""
    found = prompted(tools=TOOLS, messages=[{"role": role, "content": content, "name": "n"}, USER])["messages"]

    assert [message["role"] for message in found] == [role, "user"]
    assert found[0]["name"] == "n"
    text = json.dumps(found[0]["content"], ensure_ascii=False)
    assert "weather" in text
    assert text.startswith(('"あなた', '[{"type": "text", "text": "あなた', '"You can call'))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("required", "must call at least one"),
        ({"type": "function", "function": {"name": "time"}}, "must call the tool time"),
        (None, "plain words"),
    ],
)
def test_the_choice_of_a_tool_is_said(choice, words):
    """Required, a certain one, or free."""
    assert words in prompted(tools=TOOLS, tool_choice=choice)["messages"][0]["content"]


def test_no_tools_are_described_where_none_may_be_called():
    """`none`, an empty list and null leave the messages alone, and the fields go."""
    requests: list[dict[str, Any]] = [{"tools": TOOLS, "tool_choice": "none"}, {"tools": []}, {"tools": None}]

    for request in requests:
        assert prompted(**request) == {"model": "m", "messages": [USER]}


def test_legacy_functions_are_described_as_tools():
    """`functions` and `function_call` are the same under older names."""
    found = prompted(functions=[WEATHER], function_call={"name": "weather"})

    assert set(found) == {"model", "messages"}
    assert "must call the tool weather" in found["messages"][0]["content"]
    assert prompted(functions=[WEATHER], function_call="none")["messages"] == [USER]


def test_history_is_told_in_words():
    """Calls in the form that is asked for, results as one message of the user, in order; names from the calls."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "京都"}'}}
    other = {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "not json"}}
    history = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "晴れ"},
        {"role": "assistant", "content": "And?", "tool_calls": [call, other]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "雨"}]},
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
        {"role": "assistant", "content": None, "function_call": {"name": "time", "arguments": "{}"}},
        {"role": "function", "name": "time", "content": "one"},
    ]

    found = prompted(messages=history)["messages"]

    assert [message["role"] for message in found] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert [set(message) for message in found] == [{"role", "content"}] * 7
    assert json.loads(found[1]["content"]) == json.loads(ASKED_FOR)
    assert found[2]["content"] == "Result of the tool weather:\n晴れ"
    assert found[3]["content"].startswith("And?\n{")
    assert found[4]["content"] == "Result of the tool weather:\n雨\n\nResult of the tool time:\nnoon"
    assert json.loads(found[5]["content"]) == {"tool_calls": [{"name": "time", "arguments": {}}]}
    assert found[6]["content"] == "Result of the tool time:\none"


def test_messages_without_tools_keep_their_bytes():
    """Only what speaks of tools is written anew."""
    body = b'{"model":"m", "messages": [ {"role" : "user","content":"\\u3042","x":1.50} ]}'

    assert b'{"role" : "user","content":"\\u3042","x":1.50}' in to_prompt(body)
    assert to_prompt(b"[]") == b"[]"
    assert to_prompt(b'{"prompt": "x"}') == b'{"prompt": "x"}'


@pytest.mark.parametrize(
    ("request_body", "param"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [*TOOLS, {"type": "function", "function": {"name": 5}}]}, "tools[2]"),
        ({"functions": [5]}, "functions[0]"),
        ({"tools": TOOLS, "tool_choice": {"type": "x"}}, "tool_choice"),
        ({"messages": "x", "tools": TOOLS}, "messages"),
    ],
)
def test_tools_that_are_none_are_refused(request_body, param):
    """400 with the place."""
    with pytest.raises(InvalidRequest) as caught:
        prompted(**request_body)

    assert caught.value.param == param


def test_values_that_cannot_be_held_are_refused():
    """A number out of range is JSON by its bytes only."""
    body = b'{"messages": [], "tools": [{"type": "function", "function": {"name": "f", "parameters": 1e999}}]}'

    with pytest.raises(InvalidRequest):
        to_prompt(body)
    with pytest.raises(InvalidRequest):
        tool_names(cut(body))


def test_what_a_request_offers_is_known():
    """The names, and whether it speaks of functions."""
    tools, functions = cut(json.dumps({"tools": TOOLS}).encode()), cut(json.dumps({"functions": [WEATHER]}).encode())

    assert (tool_names(tools), is_legacy(tools)) == (frozenset({"weather", "time"}), False)
    assert (tool_names(functions), is_legacy(functions)) == (frozenset({"weather"}), True)
    assert (tool_names({}), is_legacy({})) == (frozenset(), False)


@pytest.mark.parametrize(
    ("content", "said"),
    [(ASKED_FOR, None), (f"調べます。\n```json\n{ASKED_FOR}\n```", "調べます。"), (f"{ASKED_FOR} Done.", "Done.")],
)
def test_a_call_in_a_reply_becomes_a_tool_call(content, said):
    """With an id, a finish reason, and the words around it; every other byte stays."""
    body = reply(content)

    choice = json.loads(from_reply(body))["choices"][0]
    (call,) = choice["message"].pop("tool_calls")

    assert choice["message"] == {"role": "assistant", "content": said, "reasoning_content": "x"}
    assert choice["finish_reason"] == "tool_calls"
    assert call.pop("id").startswith("call_")
    assert call == {"type": "function", "function": {"name": "weather", "arguments": '{"city": "京都"}'}}
    assert from_reply(body) == from_reply(body)
    assert from_reply(body).startswith(body[: body.index(b'"choices"')])
    assert from_reply(body).endswith(b'"usage": {"prompt_tokens": 1}}')


def test_ids_differ_between_calls_and_replies():
    """A client matches results to calls by them, over a whole conversation."""
    two = json.dumps({"tool_calls": [{"name": "time"}, {"name": "time"}]})
    bodies = [reply(two), reply(two).replace(b'"r1"', b'"r2"'), reply(two).replace(b'"id": "r1", ', b"")]

    ids = [
        call["id"] for body in bodies for call in json.loads(from_reply(body))["choices"][0]["message"]["tool_calls"]
    ]

    assert len(set(ids)) == 6


def test_a_legacy_caller_gets_a_function_call():
    """One, under the older name."""
    choice = json.loads(from_reply(reply(ASKED_FOR), legacy=True))["choices"][0]

    assert choice["message"]["function_call"] == {"name": "weather", "arguments": '{"city": "京都"}'}
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "function_call"


def test_several_choices_are_read_each():
    """One may call, another may answer."""
    body = json.loads(reply("plain"))
    body["choices"].append(json.loads(reply(ASKED_FOR, index=1))["choices"][0])

    found = json.loads(from_reply(json.dumps(body).encode()))["choices"]

    assert found[0] == body["choices"][0]
    assert found[1]["message"]["tool_calls"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize(
    "body",
    [
        reply("plain"),
        reply('{"city": "京都"}'),
        reply(None),
        reply([{"type": "text", "text": ASKED_FOR}]),
        b"",
        b"[]",
        b'{"choices": null}',
        b'{"choices": [1, {}, {"message": 1}]}',
        b'{"error": {"message": "x"}}',
    ],
)
def test_a_reply_without_a_call_keeps_its_bytes(body):
    """Whatever it is."""
    assert from_reply(body) == body


def test_a_call_to_an_unknown_tool_is_text():
    """Where the request's tools are known."""
    assert from_reply(reply(ASKED_FOR), frozenset({"time"})) == reply(ASKED_FOR)
    assert from_reply(reply(ASKED_FOR), frozenset({"weather"})) != reply(ASKED_FOR)


def test_a_reply_that_was_cut_keeps_its_reason():
    """`length` says more than `tool_calls` would."""
    assert json.loads(from_reply(reply(ASKED_FOR, finish_reason="length")))["choices"][0]["finish_reason"] == "length"
    assert finish_reason(None, legacy=False) == b'"tool_calls"'


def test_calls_of_a_delta_are_numbered():
    """From where the stream stands."""
    found = json.loads(
        call_fields([ToolCall("a", "{}"), ToolCall("b", "{}")], b"x", legacy=False, first=3)["tool_calls"]
    )

    assert [call["index"] for call in found] == [3, 4]


def test_text_is_read_where_there_is_some():
    """Null, numbers, lists and broken characters are none."""
    fields = object_fields(b'{"a": "x", "b": null, "c": 1, "d": "\xff"}')

    assert fields is not None
    assert [text_of(fields, name) for name in "abcde"] == ["x", None, None, None, None]
