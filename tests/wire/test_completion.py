"""OpenAI's streams: only the model's name changes, usage is counted, and no cut shows."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.shapes import Usage
from proxy_cli.wire.completion import ChatStream, ResponsesStream, last_event

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
TOOL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"model": "vicuna"}'}}


def event(value: object, indent: int | None = None) -> bytes:
    lines = json.dumps(value, ensure_ascii=False, indent=indent).encode().split(b"\n")
    return b"\n".join(b"data: " + line for line in lines) + b"\n\n"


def chunk(model: str, choices: list[object], **more: object) -> bytes:
    return event(
        {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices} | more
    )


def choice(**delta: object) -> object:
    return {"index": 0, "delta": delta, "finish_reason": None}


def chat(model: str) -> list[bytes]:
    return [
        b": ping\n\n",
        chunk(model, [choice(role="assistant", content="")]),
        chunk(model, [choice(content="日本🗾"), choice(content='"model": "vicuna"')]),
        chunk(model, [choice(reasoning_content="x")], vendor={"model": "vicuna"}),
        event({"model": model, "id": "moved", "choices": []}, indent=1),
        chunk(model, [choice(tool_calls=[TOOL])]),
        b'event: note\ndata: {"model":"%s"}\r\n\r\n' % model.encode(),
        chunk(model, [choice(content="!")]),
        b"data: not json\n\n",
        b'data: {"model": null, "x": {"model": "vicuna"}}\n\n',
    ]


DONE = b"data: [DONE]\n\n"
USAGE_CHUNK = chunk("vicuna", [], usage=USAGE)


def passed(reader: ChatStream | ResponsesStream, pieces: list[bytes]) -> bytes:
    return b"".join([*(reader.feed(piece) for piece in pieces), reader.end()])


@pytest.mark.row("S-27")
def test_each_event_shows_the_name_asked_for_and_is_else_the_backends_bytes():
    """Deltas, tool calls, reasoning, vendor fields; `model` inside content and arguments is left alone."""
    reader = ChatStream("gpt-4o", keep_usage=False, rename=True)

    out = passed(reader, [*chat("vicuna"), DONE])

    assert out == b"".join([*chat("gpt-4o"), DONE])
    assert reader.finished
    assert reader.error_event is None


@pytest.mark.row("S-13", "S-14")
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_no_cut_changes_a_stream(end):
    """At every byte, and byte by byte, with each kind of line end."""
    stream = b"".join([*chat("vicuna"), USAGE_CHUNK, DONE]).replace(b"\r\n", b"\n").replace(b"\n", end)
    whole = passed(ChatStream("gpt-4o", keep_usage=False, rename=True), [stream])

    for position in range(len(stream) + 1):
        reader = ChatStream("gpt-4o", keep_usage=False, rename=True)
        assert passed(reader, [stream[:position], stream[position:]]) == whole
        assert (reader.finished, reader.usage) == (True, Usage(prompt_tokens=5, completion_tokens=2))
    pieces = [stream[at : at + 1] for at in range(len(stream))]
    assert passed(ChatStream("gpt-4o", keep_usage=False, rename=True), pieces) == whole
    assert "日本🗾".encode() in whole


def test_without_a_rename_the_bytes_are_the_backends():
    """The same name on both sides costs nothing and moves nothing."""
    stream = [*chat("vicuna"), USAGE_CHUNK, DONE]

    assert passed(ChatStream("gpt-4o", keep_usage=True, rename=False), stream) == b"".join(stream)


@pytest.mark.parametrize("keep", [True, False])
def test_the_usage_chunk_goes_to_who_asked_for_it(keep):
    """It is counted either way, and dropped where only we asked."""
    reader = ChatStream("vicuna", keep_usage=keep, rename=True)

    out = passed(reader, [chunk("vicuna", [choice(content="x")], usage=None), USAGE_CHUNK, DONE])

    assert (USAGE_CHUNK in out) is keep
    assert b'"usage": null' in out
    assert reader.usage == Usage(prompt_tokens=5, completion_tokens=2)


def test_usage_beside_choices_is_left_alone():
    """Some backends write it into the last chunk, or into each; the latest counts."""
    reader = ChatStream("vicuna", keep_usage=False, rename=True)
    stream = [
        chunk("vicuna", [choice(content="x")], usage=USAGE | {"completion_tokens": 1}),
        chunk("vicuna", [choice(content="y")], usage=USAGE),
        chunk("vicuna", [], prompt_filter_results=[]),
        DONE,
    ]

    assert passed(reader, stream) == b"".join(stream)
    assert reader.usage == Usage(prompt_tokens=5, completion_tokens=2)


def test_a_zero_usage_is_usage():
    """A stream that generated nothing was counted all the same."""
    reader = ChatStream("vicuna", keep_usage=False, rename=True)

    reader.feed(chunk("vicuna", [], usage={"prompt_tokens": 0, "completion_tokens": 0}))

    assert reader.usage == Usage()


@pytest.mark.parametrize(
    "error", [{"error": {"message": "out of memory", "code": 500}}, {"object": "error", "message": "x", "error": None}]
)
def test_an_error_inside_a_stream_is_passed_and_remembered(error):
    """The first one; a null error is none."""
    reader = ChatStream("gpt-4o", keep_usage=False, rename=True)
    stream = [chunk("gpt-4o", [choice(content="x")], error=None), event(error), event({"error": "second"})]

    assert passed(reader, stream) == b"".join([*stream, DONE])
    assert reader.error_event == event(error)


@pytest.mark.row("S-12")
@pytest.mark.parametrize(
    ("tail", "out", "finished"),
    [
        (b"data: [DONE]", b"data: [DONE]\n\n", True),
        (b"data: [DONE]\n", b"data: [DONE]\n\n", True),
        (b"data: [DONE]\r\r", b"data: [DONE]\r\r", True),
        (b"data: [DONE]\r\n\r", b"data: [DONE]\r\n\r", True),
        (b"data: [DONE]\r\n", b"data: [DONE]\n\n", True),
        (b'data: {"model":"vicuna"}\n', b'data: {"model":"gpt-4o"}\n\n', False),
        (b'data: {"model":"vicuna","choi', b"", False),
        (b"data: [DO", b"", False),
        (b": ping", b"", False),
        (b"\r", b"", False),
        (b"", b"", False),
    ],
)
def test_the_end_of_a_stream_is_whole_or_nothing(tail, out, finished):
    """A last event that lacks its blank line is completed, half an event is dropped; only the mark is an end."""
    reader = ChatStream("gpt-4o", keep_usage=False, rename=True)
    first = chunk("vicuna", [choice(content="x")])

    assert passed(reader, [first + tail]) == first.replace(b"vicuna", b"gpt-4o") + out
    assert reader.finished is finished


@pytest.mark.parametrize("rest", [b"", b"\n", b"event: x", b"data: half"])
def test_a_rest_without_whole_data_is_no_event(rest):
    """There is nothing in it that a client could use."""
    assert last_event(rest) == b""


def responses(model: str) -> list[bytes]:
    def lifecycle(kind: str, **more: object) -> bytes:
        response = {"id": "r1", "object": "response", "model": model, "metadata": {"model": "vicuna"}} | more
        return f"event: {kind}\n".encode() + event({"type": kind, "sequence_number": 0, "response": response})

    delta = {"type": "response.output_text.delta", "delta": '日本 "model"', "model": "vicuna"}
    usage = {"input_tokens": 5, "output_tokens": 2}
    return [
        lifecycle("response.created", usage=None),
        b"event: response.output_text.delta\n" + event(delta),
        lifecycle("response.completed", usage=usage),
    ]


@pytest.mark.row("S-13")
def test_responses_streams_show_the_name_one_level_down():
    """At every cut: the name in `response`, the usage, the end; deltas and metadata untouched."""
    stream, expected = b"".join(responses("vicuna")), b"".join(responses("gpt-4o"))

    for position in range(len(stream) + 1):
        reader = ResponsesStream("gpt-4o", rename=True)
        assert passed(reader, [stream[:position], stream[position:]]) == expected
        assert (reader.finished, reader.usage) == (True, Usage(prompt_tokens=5, completion_tokens=2))
    assert passed(ResponsesStream("gpt-4o", rename=False), [stream]) == stream


@pytest.mark.parametrize(
    ("last", "finished", "failed"),
    [
        (b'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"code":"x"}}}\n\n', True, True),
        (b'event: response.incomplete\ndata: {"type":"response.incomplete","response":{}}\n\n', True, False),
        (b'event: error\ndata: {"type":"error","message":"x"}\n\n', True, True),
        (b"data: [DONE]\n\n", True, False),
        (b'data: {"type":"response.completed","response":[]}\n\n', False, False),
        (b'data: "response"\n\n', False, False),
        (b'event: "error"\n\n', False, False),
        (b'data: {"error": null}\n\n', False, False),
    ],
)
def test_the_ways_a_responses_stream_ends(last, finished, failed):
    """Failed and incomplete are ends too; an error is remembered."""
    reader = ResponsesStream("gpt-4o", rename=True)

    assert passed(reader, [last]) == last
    assert reader.finished is finished
    assert reader.error_event == (last if failed else None)


@pytest.mark.parametrize(
    ("choices", "dropped"),
    [
        (b"[]", True),
        (b'[{"index":0,"delta":{}}]', True),
        (b'[{"index":0,"delta":{},"finish_reason":null}]', True),
        (b'[{"index":0,"delta":{},"finish_reason":"stop"}]', False),
        (b'[{"index":0,"delta":{"content":"a"}}]', False),
        (b'[{"index":0,"text":""}]', False),
    ],
)
def test_a_usage_chunk_that_says_nothing_else_is_dropped_unless_it_was_asked_for(choices, dropped):
    """LiteLLM as a backend puts an empty delta where OpenAI has no choice at all."""
    event = b'data: {"choices":' + choices + b',"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'

    assert ChatStream("a", keep_usage=False, rename=True).feed(event) == (b"" if dropped else event)
    assert ChatStream("a", keep_usage=True, rename=True).feed(event) == event


ERROR = b'data: {"error":{"message":"out of memory, sk-backend-1"}}\n\n'


@pytest.mark.parametrize("after", [b"", DONE, b"data: [DONE]"])
def test_an_error_inside_a_chat_stream_is_its_end_without_its_secrets(after):
    """The end mark comes once, whether the backend sends it or only hangs up."""
    reader = ChatStream("gpt-4o", False, True, scrub=lambda said: said.replace(b"sk-backend-1", b"***"))

    out = passed(reader, [ERROR + after])

    assert out == b'data: {"error":{"message":"out of memory, ***"}}\n\ndata: [DONE]\n\n'
    assert reader.finished


def test_an_error_inside_a_responses_stream_is_its_end_without_its_secrets():
    """This dialect has no mark beside it."""
    event = b'event: error\ndata: {"type":"error","message":"out of memory, sk-backend-1"}\n\n'
    reader = ResponsesStream("gpt-4o", True, scrub=lambda said: said.replace(b"sk-backend-1", b"***"))

    assert passed(reader, [event]) == event.replace(b"sk-backend-1", b"***")
    assert reader.finished


@pytest.mark.parametrize("reader", [ChatStream("a", keep_usage=False, rename=True), ResponsesStream("a", rename=True)])
def test_events_and_bytes_are_counted(reader):
    """All there is to go by when the stream is left before its usage."""
    reader.feed(b"data: 1\n\ndata: 2\n\nda")
    reader.feed(b"ta: 3\n\n")

    assert reader.seen == (3, 27)


FIRST = b'data: {"id":"c1","model":"vicuna","choices":[{"delta":{"content":"'
LAST = b'"}}]}\n\n'
BEFORE = b'data: {"choices":[{"delta":{"content":"'
BEHIND = b'"}}],"id":"c1","model":"vicuna","object":"chat.completion.chunk"}\n\n'


@pytest.mark.parametrize(("start", "end"), [(FIRST, LAST), (BEFORE, BEHIND)], ids=["model first", "model last"])
@pytest.mark.parametrize(
    ("middle", "usage", "fails"),
    [
        (b"x", None, False),
        (b"", None, False),
        (b"\\n and \\\\", None, False),
        (b'\\"usage\\": \\"error\\", [DONE]', None, False),
        (b'"}}],"usage":null,"more":[{"a":{"b":"', None, False),
        (b'"}}],"usage":{"prompt_tokens":5,"completion_tokens":2},"more":[{"a":{"b":"', Usage(5, 2), False),
        (b'"}}],"error":{"message":"no"},"more":[{"a":{"b":"', None, True),
    ],
)
def test_an_event_is_read_alike_whatever_came_before(start, end, middle, usage, fails):
    """Events that begin and end as earlier ones are told fast, yet what stands between counts; so do many at once."""
    usual, other = start + b"hello" + end, start + middle + end
    renamed = [each.replace(b"vicuna", b"gpt-4o") for each in (usual, other)]

    alone = ChatStream("gpt-4o", keep_usage=True, rename=True)
    at_once = ChatStream("gpt-4o", keep_usage=True, rename=True)

    assert [alone.feed(each) for each in (usual, usual, usual, other, usual)] == [renamed[at] for at in (0, 0, 0, 1, 0)]
    assert at_once.feed(usual) + at_once.feed((usual + other) * 3) == renamed[0] + (renamed[0] + renamed[1]) * 3
    for reader in (alone, at_once):
        assert reader.usage == usage
        assert (reader.error_event == other) is fails
    assert (alone.seen[0], at_once.seen[0]) == (5, 7)


@pytest.mark.parametrize(("start", "end"), [(FIRST, LAST), (BEFORE, BEHIND)], ids=["model first", "model last"])
@pytest.mark.parametrize("begun", [b": note\n", b"id: 1\n", b"da"])
def test_an_event_that_was_begun_is_one_with_what_follows(start, end, begun):
    """Also where what follows looks like a whole event by itself."""
    usual = start + b"hello" + end
    reader, fresh = (ChatStream("gpt-4o", keep_usage=True, rename=True) for _ in range(2))

    out = passed(reader, [usual, usual, usual, begun, usual])

    assert out == 3 * usual.replace(b"vicuna", b"gpt-4o") + fresh.feed(begun + usual)


@pytest.mark.parametrize(("start", "end"), [(FIRST, LAST), (BEFORE, BEHIND)], ids=["model first", "model last"])
def test_an_event_of_another_kind_among_many_is_renamed_too(start, end):
    """Wherever its model stands, and whatever stands around it."""
    first, second, third = (start + text + end for text in (b"a", b"b", b"c"))
    odd = b'data: {"x":[{"model":"vicuna"}],"model":"vicuna","y":1}\n\n'
    reader = ChatStream("gpt-4o", keep_usage=True, rename=True)

    out = passed(reader, [first, second + odd + third])

    inner = b'"x":[{"model":"vicuna"}]'
    renamed = b"".join([first, second, odd, third]).replace(b"vicuna", b"gpt-4o")
    assert out == renamed.replace(inner.replace(b"vicuna", b"gpt-4o"), inner)


@given(st.lists(st.text(), max_size=8), st.lists(st.integers(0, 900), max_size=8))
def test_no_cut_shows_in_a_stream_of_any_texts(texts, cuts):
    """Whatever is said, and wherever the network cuts it, the name alone is another."""
    stream = [chunk("vicuna", [choice(content=text)]) for text in texts]
    whole, at = b"".join(stream), [0, *sorted(cuts)]
    reader = ChatStream("gpt-4o", keep_usage=False, rename=True)

    out = passed(reader, [whole[a:b] for a, b in pairwise([*at, len(whole)])])

    assert out == b"".join(chunk("gpt-4o", [choice(content=text)]) for text in texts)
    assert reader.seen == (len(texts), len(whole))


@pytest.mark.parametrize("reader", [ChatStream("a", keep_usage=False, rename=True), ResponsesStream("a", rename=True)])
def test_comments_are_no_events(reader):
    """A backend that only keeps the line open has said nothing."""
    first = b'data: {"model":"a"}\n\n'

    assert passed(reader, [first, b": ping\n\n", first + b": ping\n\n", b"retry: 5\n\n"]).count(b"ping") == 2
    assert reader.seen[0] == 2
