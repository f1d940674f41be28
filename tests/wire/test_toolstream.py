"""Tool calls in a stream's text: plain text flows, a call comes out whole, and no cut shows."""

import json
from typing import Any

import pytest

from proxy_cli.shapes import Usage
from proxy_cli.wire.completion import ChatStream
from proxy_cli.wire.sse import Events, data_of
from proxy_cli.wire.toolprompt import from_reply
from proxy_cli.wire.toolstream import ToolPromptStream

ASKED_FOR = '{"tool_calls": [{"name": "weather", "arguments": {"city": "京都🗾"}}, {"name": "time"}]}'
DONE = b"data: [DONE]\n\n"


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    body = {"id": "r1", "model": "vicuna", "choices": list(choices)} | more
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def choice(delta: dict[str, Any], reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason}


def stream(*texts: str, reason: str | None = "stop") -> list[bytes]:
    return [
        chunk(choice({"role": "assistant", "content": ""})),
        *(chunk(choice({"content": text})) for text in texts),
        *([chunk(choice({}, reason))] if reason else []),
        DONE,
    ]


def reader(**options: Any) -> ToolPromptStream:
    return ToolPromptStream(ChatStream("gpt-4o", keep_usage=False, rename=True), **options)


def passed(pieces: list[bytes], **options: Any) -> bytes:
    machine = reader(**options)
    out = b"".join([*(machine.feed(piece) for piece in pieces), machine.end()])
    assert machine.finished
    return out


def choices_of(out: bytes) -> list[dict[str, Any]]:
    datas = [data_of(event) or b"" for event in Events().feed(out)]
    return [one for data in datas if data != b"[DONE]" for one in json.loads(data)["choices"]]


def answer(out: bytes, index: int = 0) -> tuple[str, list[Any], str | None]:
    """What a client makes of a stream: its text, its calls, its reason to end."""
    text, calls, reason = "", [], None
    for one in choices_of(out):
        if one["index"] == index:
            text += one["delta"].get("content") or ""
            calls += one["delta"].get("tool_calls", [])
            assert reason is None, "nothing comes after the end of a choice"
            reason = one["finish_reason"]
    return text, calls, reason


def test_plain_text_flows_at_once_as_its_bytes():
    """Only the name is changed, as in any stream; the end stays the end."""
    machine = reader()

    for event in stream("Hello", ", ", "世界 {x}", "\n", reason="stop"):
        assert machine.feed(event) == event.replace(b"vicuna", b"gpt-4o")
    assert machine.end() == b""
    assert machine.finished


@pytest.mark.parametrize(
    ("text", "said"),
    [(ASKED_FOR, ""), (f"調べます。\n```json\n{ASKED_FOR}\n```\n", "調べます。\n"), (f"{ASKED_FOR}Done.", "Done.")],
)
def test_a_call_comes_out_as_tool_calls_at_every_cut(text, said):
    """However the model's tokens lie; the calls are those of a whole reply, and so are their ids."""
    whole = {"id": "r1", "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}
    expected = json.loads(from_reply(json.dumps(whole).encode()))["choices"][0]["message"]["tool_calls"]
    cuts = [[text[:position], text[position:]] for position in range(len(text) + 1)]

    for texts in [[text], list(text), *cuts]:
        found, calls, reason = answer(passed(stream(*texts)))

        assert (found, reason) == (said, "tool_calls")
        assert [call.pop("index") for call in calls] == [0, 1]
        assert calls == expected


def test_no_cut_of_the_bytes_changes_a_stream():
    """The network's pieces do not show either."""
    whole = b"".join(stream("調べ", "ます。```", "json\n", ASKED_FOR[:20], ASKED_FOR[20:], "\n```"))
    expected = passed([whole])

    for position in range(len(whole) + 1):
        assert passed([whole[:position], whole[position:]]) == expected
    assert passed([whole[at : at + 1] for at in range(len(whole))]) == expected


def test_a_call_is_held_until_it_is_decided():
    """Nothing of it is shown as text, and it goes out with its last brace."""
    machine = reader()

    out = [machine.feed(event) for event in stream("Sure: ", "{", '"name"', ': "time", "arguments": {', "}}", "\n")]

    assert [bool(piece) for piece in out] == [True, True, False, False, False, True, False, True, True]
    assert b'"tool_calls"' in out[5]


@pytest.mark.parametrize(
    "text", ['{"name": "Alice"}', '{"name": "time", "arguments": {', "```json\n[", '{"tool_calls"']
)
@pytest.mark.parametrize("reason", ["stop", "length", None])
def test_what_turns_out_to_be_no_call_is_text(text, reason):
    """An object of the user's, or a call that never ends: said before the end of the choice, or of the stream."""
    for texts in ([text], list(text)):
        assert answer(passed(stream("Look: ", *texts, reason=reason))) == (f"Look: {text}", [], reason)


def test_a_stream_that_breaks_off_gives_what_it_held():
    """As text, for it is no whole call; there is no end mark to hide that."""
    machine = reader()

    out = machine.feed(b"".join(stream('{"name": "ti')[:-2])) + machine.end()

    assert answer(out) == ('{"name": "ti', [], None)
    assert not machine.finished


def test_only_known_tools_are_called():
    """As in a whole reply."""
    text = '{"name": "time", "arguments": {}}'

    assert answer(passed(stream(text), names=frozenset({"weather"}))) == (text, [], "stop")
    assert answer(passed(stream(text), names=frozenset({"time"})))[2] == "tool_calls"


def test_a_legacy_caller_gets_one_function_call():
    """Under the older name, and no second one."""
    found = choices_of(passed(stream(ASKED_FOR, ' {"name": "more", "arguments": {}}'), legacy=True))
    calls = [one["delta"]["function_call"] for one in found if "function_call" in one["delta"]]

    assert calls == [{"name": "weather", "arguments": '{"city": "京都🗾"}'}]
    assert found[-1]["finish_reason"] == "function_call"


def test_choices_are_kept_apart():
    """One may call while another talks, in the same events."""
    call = '{"name": "time", "arguments": {}}'
    pieces = [
        chunk(choice({"content": a}, ra), choice({"content": b}, rb, index=1))
        for a, b, ra, rb in [
            ("He", call[:9], None, None),
            ("llo", call[9:], None, None),
            (' {"name"', "", None, None),
            ("", "", "stop", "stop"),
        ]
    ]

    out = passed([*pieces, DONE])

    assert answer(out, 0) == ('Hello {"name"', [], "stop")
    text, calls, reason = answer(out, 1)
    assert (text, [one["function"]["name"] for one in calls], reason) == ("", ["time"], "tool_calls")


def test_role_reasoning_and_usage_are_not_lost():
    """What stands beside held text goes on without it; usage goes once."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    call = '{"name": "time", "arguments": {}}'
    pieces = [
        chunk(choice({"role": "assistant", "content": call[:5], "reasoning_content": "hm"})),
        chunk(choice({"content": call[5:]}, "stop"), usage=usage),
        DONE,
    ]
    machine = reader()

    out = b"".join(map(machine.feed, pieces))

    first, *_, last = choices_of(out)
    assert first["delta"] == {"role": "assistant", "content": "", "reasoning_content": "hm"}
    assert (last["delta"], last["finish_reason"]) == ({}, "tool_calls")
    assert out.count(b'"usage"') == 1
    assert machine.usage == Usage(prompt_tokens=1, completion_tokens=2)
    assert machine.error_event is None


@pytest.mark.parametrize(
    "event",
    [
        b": ping\n\n",
        b"data: text\n\n",
        b'data: {"error": {"message": "x"}}\n\n',
        b'data: {"choices": null}\n\n',
        b'data: {"choices": [1, {}, {"delta": {}}, {"delta": null, "index": null}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0}]}, "finish_reason": "tool_calls"}]}\n\n',
    ],
)
def test_other_events_pass_as_their_bytes(event):
    """Comments, errors, odd shapes, and real tool calls of a backend that has them after all."""
    machine = reader()

    assert machine.feed(event) == event
    assert (machine.error_event == event) is (b"error" in event)
