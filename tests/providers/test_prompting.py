"""Tools for targets that take none."""

import json

import pytest

from proxy_cli.errors import UnsupportedParameter
from proxy_cli.providers.compatible import OpenAICompatible
from proxy_cli.providers.prompting import prompts_tools
from proxy_cli.shapes import Operation, UpstreamRequest

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
MESSAGES = [{"role": "user", "content": "東京の天気は？"}]
CALL = '{"tool_calls": [{"name": "weather", "arguments": {"city": "東京"}}]}'
REFUSES = frozenset({"tools", "tool_choice", "user"})


@pytest.mark.parametrize("takes", [None, False])
def test_tools_go_into_the_prompt_where_they_are_not_taken(make_call, make_deployment, takes):
    """The request has the tools in its words and no field for them; other changes are made as ever."""
    call = make_call(messages=MESSAGES, tools=TOOLS, tool_choice="auto", stream=True)
    target = make_deployment(add_function_to_prompt=True, takes_tools=takes, refuses=REFUSES, defaults={"top_k": 3})

    request = OpenAICompatible().prepare(call, target, ask_usage=True)

    assert isinstance(request, UpstreamRequest)
    assert isinstance(request.body, bytes)
    body = json.loads(request.body)
    assert body.keys() == {"model", "messages", "stream", "top_k", "stream_options"}
    assert body["model"] == "vicuna-13b"
    assert "weather" in json.dumps(body["messages"])
    assert body["messages"][-1] == MESSAGES[0]


def test_tools_in_the_prompt_do_not_let_other_fields_pass(make_call, make_deployment):
    """What else the target does not take is refused as ever."""
    target = make_deployment(add_function_to_prompt=True, takes_tools=False, refuses=REFUSES)

    with pytest.raises(UnsupportedParameter, match="'user'"):
        OpenAICompatible().prepare(make_call(messages=MESSAGES, tools=TOOLS, user="me"), target, ask_usage=True)


@pytest.mark.parametrize(
    ("settings", "operation", "fields"),
    [
        ({"add_function_to_prompt": False}, Operation.CHAT, {"tools": TOOLS}),
        ({"takes_tools": True}, Operation.CHAT, {"tools": TOOLS}),
        ({}, Operation.CHAT, {}),
        ({}, Operation.CHAT, {"tools": None, "functions": None}),
        ({}, Operation.RESPONSES, {"tools": TOOLS}),
    ],
)
def test_tools_stay_fields_everywhere_else(make_call, make_deployment, settings, operation, fields):
    """Not without the setting, not where they are taken, not without tools, not where there are no messages."""
    target = make_deployment(**{"add_function_to_prompt": True, **settings})

    assert not prompts_tools(make_call(operation, **fields), target)


def test_calls_in_a_reply_come_back_as_tool_calls(make_call, make_deployment):
    """What the model wrote becomes what the caller's library expects, under the name asked for."""
    call, target = make_call(messages=MESSAGES, tools=TOOLS), make_deployment(add_function_to_prompt=True)
    reply = {"model": "vicuna-13b", "choices": [{"index": 0, "message": {"content": CALL}, "finish_reason": "stop"}]}

    answer = OpenAICompatible().read(call, target, 200, (), json.dumps(reply).encode())

    body = json.loads(answer.body)
    choice = body["choices"][0]
    function = choice["message"]["tool_calls"][0]["function"]
    assert body["model"] == "gpt-3.5-turbo"
    assert choice["finish_reason"] == "tool_calls"
    assert (function["name"], json.loads(function["arguments"])) == ("weather", {"city": "東京"})


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_calls_in_a_stream_come_back_as_tool_calls(make_call, make_deployment, size):
    """However the model's words are cut, the caller sees one call and no text of it."""
    call = make_call(messages=MESSAGES, tools=TOOLS, stream=True)
    reader = OpenAICompatible().stream_reader(call, make_deployment(add_function_to_prompt=True))
    deltas = [{"content": CALL[at : at + size]} for at in range(0, len(CALL), size)]
    chunks = [
        *({"model": "vicuna-13b", "choices": [{"index": 0, "delta": each, "finish_reason": None}]} for each in deltas),
        {"model": "vicuna-13b", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]

    out = b"".join(reader.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n") for chunk in chunks)
    out += reader.feed(b"data: [DONE]\n\n")

    seen = [json.loads(line[6:]) for line in out.split(b"\n") if line.startswith(b"data: {")]
    choices = [chunk["choices"][0] for chunk in seen]
    functions = [each["function"] for choice in choices for each in choice["delta"].get("tool_calls", ())]
    assert [function["name"] for function in functions] == ["weather"]
    assert json.loads(functions[0]["arguments"]) == {"city": "東京"}
    assert not any(choice["delta"].get("content") for choice in choices)
    assert choices[-1]["finish_reason"] == "tool_calls"
    assert {chunk["model"] for chunk in seen} == {"gpt-3.5-turbo"}
    assert reader.finished
