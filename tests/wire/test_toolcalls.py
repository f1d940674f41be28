"""Calls in text: found in every form that models write them in, at every cut, and nowhere else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.wire.toolcalls import CallText, ToolCall, calls_in

WEATHER = ToolCall("weather", '{"city": "京都"}')
TIME = ToolCall("time", "{}")
ASKED_FOR = '{"tool_calls": [{"name": "weather", "arguments": {"city": "京都"}}]}'
BARE = '{"name": "weather", "arguments": {"city": "京都"}}'
BRACES = '{"tool_calls":[{"name":"run","arguments":{"code":"if (a) { b = \\"}\\" + \'\\\\\' }"}}]}'

CALLS = {
    "as asked for": (ASKED_FOR, "", [WEATHER]),
    "fenced": (f"Let me look.\n```json\n{ASKED_FOR}\n```\n", "Let me look.\n", [WEATHER]),
    "fenced without a language": (f"```\n{ASKED_FOR}\n```", "", [WEATHER]),
    "words around": (f"I call it: {ASKED_FOR} and wait.", "I call it: and wait.", [WEATHER]),
    "one object": (BARE, "", [WEATHER]),
    "tagged": (f"<tool_call>\n{BARE}\n</tool_call>", "", [WEATHER]),
    "a list": (f'[{BARE}, {{"name": "time", "parameters": {{}}}}]', "", [WEATHER, TIME]),
    "two in a row": (f'{BARE}\n{{"name": "time", "arguments": "{{}}"}}', "", [WEATHER, TIME]),
    "two in one": (
        '{"tool_calls": [{"name": "weather", "arguments": {"city": "京都"}}, {"name": "time"}]}',
        "",
        [WEATHER, TIME],
    ),
    "OpenAI's shape": (
        '{"tool_calls": [{"id": "x", "function": {"name": "weather", "arguments": "{\\"city\\": \\"京都\\"}"}}]}',
        "",
        [WEATHER],
    ),
    "legacy": ('{"function_call": {"name": "time", "arguments": ""}}', "", [TIME]),
    "laid out": (json.dumps(json.loads(ASKED_FOR), indent=2, ensure_ascii=False), "", [WEATHER]),
    "a raw line end in a string": ('{"name": "f", "arguments": {"a": "x\ny"}}', "", [ToolCall("f", '{"a": "x\\ny"}')]),
    "braces in strings": (BRACES, "", [ToolCall("run", '{"code": "if (a) { b = \\"}\\" + \'\\\\\' }"}')]),
}
TEXTS = [
    "",
    "Hello, 世界! {curly} [link](x) `code` ``` <b> < >",
    '{"city": "京都"}',
    '{"name": "Alice", "age": 7}',
    '{"name": "Alice", "arguments": "none"}',
    '{"tool_calls": "none"}',
    '{"tool_calls": [{"name": 5}]}',
    '{"tool_calls": [{"name": "weather"}, {"no": "name"}]}',
    '{"name": "weather", "arguments": {"city": ',
    '{"name": "weather", "arguments": {"a": NaN}}',
    "{'name': 'weather', 'arguments': {}}",
    '```python\nprint({"name": 1})\n```',
    '{"type": "object", "properties": {}}',
    "{" * 50 + '{"name"' * 3,
    '[[[[{"id": [}]',
    '```json\n{"names": []}\n```',
    '{"name": "a b", "arguments": {}}',
]


def separated(*pieces: str, names: frozenset[str] | None = None) -> tuple[str, list[ToolCall]]:
    machine = CallText(names)
    text = "".join([*(machine.feed(piece) for piece in pieces), machine.end()])
    return text, machine.calls


@pytest.mark.parametrize(("text", "said", "calls"), CALLS.values(), ids=CALLS)
def test_a_call_is_found_at_every_cut(text, said, calls):
    """Whole, in two pieces, and by the letter."""
    for position in range(len(text) + 1):
        assert separated(text[:position], text[position:]) == (said, calls)
    assert separated(*text) == (said, calls)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_call_stays_text_at_every_cut(text):
    """JSON of the user's own, code, half a call, and odd brackets come out as they went in."""
    for position in range(len(text) + 1):
        assert separated(text[:position], text[position:]) == (text, [])
    assert separated(*text) == (text, [])


@given(
    st.lists(st.sampled_from([*'{}[]"`\\ \n<,:a', "```", '"name"', '"arguments"', "tool_calls", BARE, "<tool_call>"]))
)
def test_no_cut_changes_what_is_found(pieces):
    """Any text, by its pieces, as a whole and by the letter."""
    text = "".join(pieces)

    assert separated(*pieces) == separated(text) == separated(*text)


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("Hello", "Hello"),
        ("Hello ", "Hello "),
        ("a {", "a "),
        ('{"t', ""),
        ('{"ti', '{"ti'),
        ('{"name":', ""),
        ('{"name" ', ""),
        ('{"names', '{"names'),
        ("`", ""),
        ("`a", "`a"),
        ("```json\n", ""),
        ("```json\nx", "```json\nx"),
        ("<tool", ""),
        ("<too", ""),
        ("<tools", "<tools"),
        ("[", ""),
        ("[1", "[1"),
    ],
)
def test_text_flows_as_soon_as_it_can_be_no_call(text, out):
    """Only what may still become one is held."""
    assert CallText().feed(text) == out


def test_only_known_tools_are_called():
    """Where the tools are known, an object that names another one is text."""
    names = frozenset({"weather"})

    assert separated(ASKED_FOR, names=names) == ("", [WEATHER])
    assert separated('{"name": "time", "arguments": {}}', names=names) == ('{"name": "time", "arguments": {}}', [])


@pytest.mark.parametrize(
    "text", ["", "[]", "5", '{"a": ' * 5000, '{"name": "f", "arguments": {"a": 1' + "0" * 5000 + "}}"]
)
def test_what_cannot_be_read_calls_nothing(text):
    """Depth and size included."""
    assert calls_in(text) == []


def test_a_long_call_in_small_pieces_is_counted_once():
    """By the letter: were each look over all of it, this would never end."""
    text = '{"name": "f", "arguments": {"a": "' + 'x}\\"' * 10_000 + '"}}'

    said, calls = separated(*text)

    assert said == ""
    assert len(calls) == 1
