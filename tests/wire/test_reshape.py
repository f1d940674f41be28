"""Completions in the other form: nothing that was said is lost on the way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import BackendBroken, GatewayError, Overloaded
from proxy_cli.wire.reshape import as_events, as_whole

DONE = b"data: [DONE]\n\n"
CHAT = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "system_fingerprint": "f",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "日本語",
                "reasoning_content": "考え",
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                    {"id": "t2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
            },
            "logprobs": {"content": [{"token": "日", "logprob": -0.5}]},
            "finish_reason": "tool_calls",
        },
        {"index": 1, "message": {"role": "assistant", "content": "b"}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
TEXT = {
    "id": "c1",
    "object": "text_completion",
    "model": "m",
    "choices": [{"index": 0, "text": "abc", "logprobs": None, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


def never(event: bytes) -> GatewayError:
    """For streams that hold no error."""
    raise AssertionError(event)


def events(*told: object) -> bytes:
    """A stream of these, without an end mark."""
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in told)


def chunk(delta: object, *, index: int = 0, **more: object) -> dict[str, object]:
    """One event of a chat."""
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m"} | {
        "choices": [{"index": index, "delta": delta, "finish_reason": None, **more}]
    }


@pytest.mark.row("U-16")
@pytest.mark.parametrize("whole", [CHAT, TEXT], ids=["chat", "text"])
def test_what_is_told_as_events_and_put_together_again_is_the_same(whole):
    """Every field of it, choices, calls of tools and usage among them."""
    told = as_events(json.dumps(whole).encode())

    assert told is not None
    assert json.loads(as_whole(b"".join(told), never) or b"") == whole


@pytest.mark.row("U-16")
def test_events_are_those_of_a_stream():
    """A kind of their own, deltas, an end for each choice, usage without choices, and the mark."""
    told = as_events(json.dumps(CHAT).encode()) or ()
    seen = [json.loads(event.removeprefix(b"data: ")) for event in told[:-1]]

    assert told[-1] == DONE
    assert {event["object"] for event in seen} == {"chat.completion.chunk"}
    assert [event["choices"][0]["finish_reason"] for event in seen[:-1]] == [None, "tool_calls", None, "stop"]
    assert [call["index"] for call in seen[0]["choices"][0]["delta"]["tool_calls"]] == [0, 1]
    assert (seen[-1]["choices"], seen[-1]["usage"]) == ([], CHAT["usage"])


@pytest.mark.row("U-16")
def test_pieces_of_texts_and_calls_become_whole():
    """Texts follow each other, names stand once, choices are told apart, and a null takes nothing away."""

    def call(index: int, arguments: str, **more: object) -> dict[str, object]:
        return {"tool_calls": [{"index": index, **more, "function": {"arguments": arguments}}]}

    stream = events(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "日"}),
        chunk({"content": "x", "role": "assistant"}, index=1),
        chunk({"content": "本"}),
        chunk(call(0, "", id="t1", type="function")),
        chunk(call(0, '{"a"')),
        chunk(call(1, "{}", id="t2", type="function")),
        chunk(call(0, ":1}")),
        chunk({"content": None}, finish_reason="stop"),
        {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 3}},
    )

    whole = json.loads(as_whole(b": ping\n\n" + stream + DONE, never) or b"")

    assert (whole["object"], whole["model"], whole["usage"]) == ("chat.completion", "m", {"total_tokens": 3})
    first, second = whole["choices"]
    assert first["message"] == {
        "role": "assistant",
        "content": "日本",
        "tool_calls": [
            {"id": "t1", "type": "function", "function": {"arguments": '{"a":1}'}},
            {"id": "t2", "type": "function", "function": {"arguments": "{}"}},
        ],
    }
    assert (first["finish_reason"], second["message"]["content"], second["index"]) == ("stop", "x", 1)


@given(st.lists(st.text(), max_size=6))
def test_text_that_comes_in_pieces_is_their_row(pieces):
    """However it was cut."""
    stream = events(chunk({"role": "assistant"}), *(chunk({"content": piece}) for piece in pieces))

    whole = json.loads(as_whole(stream + DONE, never) or b"")

    assert (whole["choices"][0]["message"]["content"] or "") == "".join(pieces)


def test_stream_without_its_end_mark_is_not_whole():
    """Half an answer never passes for one."""
    with pytest.raises(BackendBroken) as failure:
        as_whole(events(chunk({"content": "a"})), never)

    assert failure.value.code == "upstream_truncated"


def test_error_in_a_stream_is_raised():
    """With what the event said."""
    stream = events(chunk({"content": "a"}), {"error": {"message": "full"}})

    with pytest.raises(Overloaded, match="full"):
        as_whole(stream + DONE, lambda event: Overloaded(event.decode()))


@pytest.mark.parametrize(
    "body", [b"", b"7", b"[]", b"{}", b'{"choices":null}', b'{"choices":[1]}', b"<html>", b'{"a":']
)
def test_what_is_no_completion_has_no_events(body):
    """Whoever reads it next says what is wrong with it."""
    assert as_events(body) is None


@pytest.mark.parametrize("stream", [b"", b"data: 7\n\n", b'data: {"a":1}\n\n', b'data: {"choices":[1]}\n\n'])
def test_what_holds_no_choice_is_no_completion(stream):
    """There is nothing to answer with."""
    assert as_whole(stream + DONE, never) is None
