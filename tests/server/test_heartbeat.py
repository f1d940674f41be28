"""Signs of life: when one is due, when it must not be, and what comes of a stream that is begun without an answer."""

import asyncio
import itertools
import json
from collections.abc import Coroutine
from typing import Any, cast

import openai
import pytest
from msgspec import structs

from proxy_cli.answer import Answer
from proxy_cli.relay import Relay
from proxy_cli.routing.table import Table
from proxy_cli.secret import Scrubber
from proxy_cli.server.heartbeat import Beat, Beats, Heart
from proxy_cli.server.problems import Problems
from proxy_cli.server.reply import Outgoing
from proxy_cli.shapes import NO_CONTROLS, Call, Controls, Operation, Record
from proxy_cli.wire.completion import ChatStream, ResponsesStream
from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import FIN, REQUEST, RawBackend
from tests.fakes.turned_clock import TurnedLoop
from tests.providers.conftest import deployment_of
from tests.server.conftest import chat, seed_like
from tests.server.test_lane import connected, in_chunks, post
from tests.test_relay import Reader, Reply, refused

PING = b": ping\n\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
)
DONE = b"data: [DONE]\n\n"
FAILED = b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\n{}"
USUAL = Beats()
EVENTS = (("content-type", "text/event-stream"),)


def sent(data: bytes) -> bytes:
    """A chunk of a backend's stream."""
    return b"%x\r\n%s\r\n" % (len(data), data)


END = sent(DONE) + b"0\r\n\r\n"


class Ear:
    """An outlet that notes what is said."""

    def __init__(self):
        self.begun = None
        self.said = []

    def begin(self, head, operation):
        self.begun = operation
        self.said.append("head")

    def ping(self):
        self.said.append("ping")

    def end(self, last):
        self.said.append(last)
        return last


def beat_of(ear, *, beats=USUAL, operation=Operation.CHAT, controls=NO_CONTROLS, **deployment):
    """A call for a stream that began at second 0."""
    call = Call(request_id="r", operation=operation, model="m", body=b"{}", stream=True, controls=controls)
    table = Table([deployment_of(group="m", **deployment)])
    return Beat(call, "", ear, beats, table, beats.commit_s or float("inf"))


async def flowing(beat, *pieces, headers=EVENTS, reader=None):
    """Let its answer be a stream of which these pieces have gone out."""
    relay = Relay(Reply(*pieces), reader or Reader())
    await relay.start(refused)
    answer = Answer(status=200, headers=headers, deployment=deployment_of(), waited_s=0, relay=relay)
    record = Record(request_id="r", route="/")
    outgoing = Outgoing(beat.call, answer, relay, "", record, Problems(Scrubber(())), lambda: 1.0)
    beat.flows(outgoing)
    for _ in pieces:
        outgoing.passed(await relay.next())
    return outgoing


def looked(beat, until, since=0):
    """Look every second up to this one; the seconds at which something was said."""
    told = []
    for second in range(since + 1, until + 1):
        before = len(beat.outlet.said)
        beat.look(second)
        told += [second] * (len(beat.outlet.said) - before)
    return told


def test_call_without_an_answer_gets_its_head_and_then_a_ping_at_every_beat():
    """The head after the time for it, and never twice."""
    beat = beat_of(Ear())

    assert looked(beat, 80) == [30, 45, 60, 75]
    assert beat.outlet.said == ["head", "ping", "ping", "ping"]


def test_call_for_a_name_that_nobody_knows_is_looked_at_like_others():
    """What fails for one would keep the others from being looked at."""
    beat = beat_of(Ear())
    beat.call = structs.replace(beat.call, model="nobody")

    assert looked(beat, 50) == [30, 45]


@pytest.mark.parametrize(
    "given",
    [
        {"beats": Beats(commit_s=0)},
        {"beats": Beats(every_s=0)},
        {"heartbeat_s": 0},
        {"controls": Controls(heartbeat_s=0)},
    ],
    ids=["setting", "pace", "deployment", "request"],
)
@pytest.mark.row("S-19")
def test_zero_is_never(given):
    """Whichever of them says it, nothing is said before there is an answer."""
    assert looked(beat_of(Ear(), **given), 100) == []


async def test_nearest_word_on_the_pace_wins():
    """The request's over the deployment's over the setting."""
    call = Call(request_id="r", operation=Operation.CHAT, model="m", body=b"")
    own = Call(request_id="r", operation=Operation.CHAT, model="m", body=b"", controls=Controls(heartbeat_s=3))
    slow, none = deployment_of(heartbeat_s=20), deployment_of()

    assert Beats().pace_s(call, (none,)) == 15
    assert Beats().pace_s(call, (none, slow)) == 20
    assert Beats().pace_s(own, (none, slow)) == 3


async def test_silent_stream_gets_a_ping_and_one_that_moves_gets_none():
    """Silence counts from the last piece, as far as a look a second tells it."""
    beat = beat_of(Ear())
    outgoing = await flowing(beat, EVENT)

    assert looked(beat, 14) == []
    outgoing.passed(EVENT)
    assert looked(beat, 45, since=14) == [30, 45]


@pytest.mark.row("S-19")
@pytest.mark.parametrize(
    "pieces",
    [(EVENT[:-1],), (EVENT[:20],), (EVENT, b"end"), (EVENT, DONE), (b"data: a\r\n\r",)],
    ids=["no blank line", "half", "finished", "end mark", "half a line end"],
)
async def test_nothing_is_said_inside_an_event_or_behind_the_end(pieces):
    """Only a blank line is a place for it, and only while more may come."""
    beat = beat_of(Ear())
    await flowing(beat, *pieces)

    assert looked(beat, 100) == []


@pytest.mark.row("S-19")
@pytest.mark.parametrize(
    ("reader", "last"),
    [
        (ResponsesStream("m", rename=False), b'data: {"type":"response.completed","response":{}}\n\n'),
        (ChatStream("m", keep_usage=True, rename=False), b'data: {"error":{"message":"broken"}}\n\n'),
    ],
    ids=["end", "error"],
)
async def test_nothing_is_said_behind_an_end_that_only_its_dialect_tells(reader, last):
    """The Responses API has no mark of its own for it, and an error inside a stream is an end."""
    beat = beat_of(Ear())
    await flowing(beat, EVENT, last, reader=reader)

    assert looked(beat, 100) == []


async def test_nothing_is_said_behind_the_event_that_tells_a_failure():
    """It was the last one."""
    beat = beat_of(Ear())
    outgoing = await flowing(beat, EVENT)

    async def fail():
        raise refused(b"it broke off")

    assert await outgoing.outcome(fail())
    assert looked(beat, 100) == []


async def test_sound_gets_no_words():
    """What is no event stream is left alone."""
    beat = beat_of(Ear(), operation=Operation.SPEECH)
    await flowing(beat, EVENT, headers=(("content-type", "audio/mpeg"),))

    assert looked(beat, 100) == []


async def test_stream_that_was_begun_early_is_kept_alive_when_it_flows():
    """In the pace of the deployment that answers."""
    beat = beat_of(Ear())
    assert looked(beat, 31) == [30]

    await flowing(beat, EVENT)

    assert looked(beat, 50, since=31) == [47]


@pytest.mark.parametrize("operation", Operation)
async def test_only_what_is_sure_to_be_events_is_begun_early(operation):
    """Of speech or pictures nobody knows beforehand whether events come."""
    heart = Heart()
    call = Call(request_id="r", operation=operation, model="m", body=b"", stream=True)

    beat = heart.begin(call, "", cast("Any", Ear()), Beats(), Table([deployment_of(group="m")]))
    heart.stop()

    assert (beat.due_s < float("inf")) == (operation in {"chat/completions", "completions", "responses"})


async def test_nothing_is_kept_of_a_call_that_has_ended():
    """And the timer runs only while there is one."""
    heart = Heart()
    call = Call(request_id="r", operation=Operation.CHAT, model="m", body=b"", stream=True)
    beat = heart.begin(call, "", cast("Any", Ear()), USUAL, Table([deployment_of(group="m")]))

    before = len(heart)
    heart.end(beat)

    assert (before, len(heart)) == (1, 0)


def turned(work: Coroutine[Any, Any, Any]) -> Any:
    """What comes of work in a loop that does not wait for its timers."""
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        return runner.run(work)


def configured(raw: RawBackend, **sections: str) -> str:
    """A file with this backend, which is asked once."""
    more = {"router_settings": "{num_retries: 0}", **sections}
    lines = "".join(f"\n        {name}: {text}" for name, text in more.items())
    return f"{seed_like(f'http://127.0.0.1:{raw.backend.port}/v1')}{lines}\n"


def request_of(*, lane: bool, body: Any = None, path: bytes = b"/v1/chat/completions") -> bytes:
    """A call for a stream, which the lane reads itself or hands on."""
    data = json.dumps(body or chat(stream=True)).encode()
    return post(data, path=path) if lane else in_chunks(post(data, path=path), data)


async def parts_of(proxy, request: bytes) -> list[tuple[float, bytes]]:
    """All that a client gets, and when each part of it came."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    parts: list[tuple[float, bytes]] = []
    async with connected(proxy) as client:
        client.send(request)
        while not parts or (parts[-1][1] and not parts[-1][1].endswith(b"0\r\n\r\n")):
            data = await client.reader.read(65536)
            parts.append((loop.time() - began, data))
    return parts


def unchunked(parts) -> tuple[bytes, bytes]:
    """The head of a response and its body."""
    head, _, rest = b"".join(data for _, data in parts).partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return head.lower(), body


async def exchange(script, *, lane: bool, body: Any = None, path: bytes = b"/v1/chat/completions", **sections: str):
    """What comes of a call for a stream from a backend with this script."""
    async with RawBackend([REQUEST, *script]) as raw, running_proxy(configured(raw, **sections)) as proxy:
        return await parts_of(proxy, request_of(lane=lane, body=body, path=path))


WAYS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "guest"])


@pytest.mark.row("S-18")
@WAYS
def test_long_prefill_survives_hops_that_close_idle_connections(lane):
    """No silence is as long as the 60 s of common load balancers, and nothing of the answer is lost."""
    parts = turned(exchange([180.0, HEAD + sent(EVENT), 100.0, END], lane=lane))

    times = [0.0, *(when for when, _ in parts)]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 40
    assert times[-1] >= 280
    head, body = unchunked(parts)
    assert head.startswith(b"http/1.1 200 ")
    assert b"content-type: text/event-stream" in head
    assert b"x-accel-buffering: no" in head
    assert b"x-litellm-call-id: " in head
    assert body.startswith(PING)
    assert body.replace(PING, b"") == EVENT.replace(b'"m"', b'"gpt-3.5-turbo"') + DONE


@WAYS
def test_failure_after_an_early_head_is_an_event(lane):
    """The status was told already; the error and the end mark are all that can follow."""
    parts = turned(exchange([40.0, FAILED], lane=lane))

    head, body = unchunked(parts)
    assert head.startswith(b"http/1.1 200 ")
    error, done = [each for each in body.split(b"\n\n") if each.startswith(b"data: ")]
    assert json.loads(error.removeprefix(b"data: "))["error"]["type"]
    assert done + b"\n\n" == DONE


@WAYS
def test_failure_before_the_head_is_still_a_status(lane):
    """Nothing is told too early."""
    parts = turned(exchange([25.0, FAILED, FIN], lane=lane))

    assert b"".join(data for _, data in parts).startswith(b"HTTP/1.1 5")


@WAYS
def test_whole_answer_after_an_early_head_is_an_error_event_of_the_dialect(lane):
    """There is no place for it any more; the Responses API tells errors in an event of that name."""
    body = {"model": "gpt-3.5-turbo", "input": "a", "stream": True}
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

    parts = turned(exchange([40.0, answer], lane=lane, body=body, path=b"/v1/responses"))

    _, told = unchunked(parts)
    name, data = told.replace(PING, b"").rstrip(b"\n").split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["code"] == "upstream_not_a_stream"


@WAYS
@pytest.mark.parametrize("first", [[40.0, HEAD + sent(EVENT) + END], [40.0, FAILED]], ids=["answer", "failure"])
def test_connection_goes_on_after_a_stream_that_was_begun_early(lane, first):
    """The next request on it is answered as if nothing had been, with a status of its own."""

    async def twice():
        async with RawBackend([REQUEST, *first, REQUEST, FAILED]) as raw:
            async with running_proxy(configured(raw)) as proxy, connected(proxy) as client:
                client.send(request_of(lane=lane))
                early = await client.response()
                client.send(request_of(lane=lane))
                return early, await client.response()

    (status, headers, body), (late, _, _) = turned(twice())

    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert body.startswith(PING)
    assert body.endswith(DONE)
    assert late >= 500


@pytest.mark.row("S-02")
@WAYS
def test_client_that_leaves_behind_an_early_head_frees_the_backend(lane):
    """It is still watched, though it has got something."""

    async def left():
        async with RawBackend([REQUEST]) as raw:
            async with running_proxy(configured(raw)) as proxy:
                async with connected(proxy) as client:
                    client.send(request_of(lane=lane))
                    await client.reader.readuntil(PING)
                async with asyncio.timeout(5):
                    await raw.connections[0].closed.wait()
                    while proxy.server.requests_under_way:
                        await asyncio.sleep(0.01)

    turned(left())


def test_early_head_to_http_1_0_is_not_in_chunks():
    """Nothing but the end of the connection tells it the end."""

    async def old():
        async with RawBackend([REQUEST, 40.0, HEAD + sent(EVENT) + END]) as raw:
            async with running_proxy(configured(raw)) as proxy, connected(proxy) as client:
                client.send(request_of(lane=True).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
                return await client.reader.read()

    head, _, body = turned(old()).partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in head.lower()
    assert body == PING + EVENT.replace(b'"m"', b'"gpt-3.5-turbo"') + DONE


def test_proxy_that_stops_tells_a_caller_that_was_begun_early_why():
    """With an event, as those of streams under way."""

    async def stopped():
        async with RawBackend([REQUEST]) as raw:
            more = "{drain_timeout_seconds: 0.1, drain_stream_timeout_seconds: 0.1}"
            async with running_proxy(configured(raw, general_settings=more)) as proxy, connected(proxy) as client:
                client.send(request_of(lane=True))
                seen = await client.reader.readuntil(PING)
                await proxy.server.stop()
                return seen + await client.reader.read()

    _, body = unchunked([(0.0, turned(stopped()))])

    assert body.startswith(PING)
    assert b'"error"' in body
    assert body.endswith(DONE)


@WAYS
def test_client_that_takes_nothing_gets_no_ping(lane):
    """What it has not taken yet keeps the line open, and would only grow."""
    events = [sent(EVENT * 4000)] * 16

    async def slow():
        async with RawBackend([REQUEST, HEAD, *events, END]) as raw:
            async with running_proxy(configured(raw)) as proxy, connected(proxy) as client:
                client.send(request_of(lane=lane))
                await asyncio.sleep(50)
                return await client.response()

    _, _, body = turned(slow())

    assert body == EVENT.replace(b'"m"', b'"gpt-3.5-turbo"') * 4000 * 16 + DONE


@pytest.mark.row("S-19")
def test_official_client_reads_a_stream_with_pings():
    """They are comments to it, before the first event and between two."""

    async def read():
        async with RawBackend([REQUEST, 100.0, HEAD + sent(EVENT), 50.0, sent(EVENT) + END]) as raw:
            async with running_proxy(configured(raw)) as proxy:
                async with openai.AsyncOpenAI(base_url=f"{proxy.origin}/v1", api_key="None", max_retries=0) as client:
                    stream = await client.chat.completions.create(**chat(stream=True))
                    return [event.choices[0].delta.content async for event in stream]

    assert turned(read()) == ["x", "x"]


@pytest.mark.row("S-19")
@WAYS
def test_readers_that_split_lines_find_whole_events_around_the_pings(lane):
    """Each line is a comment, a data line with JSON or the mark, or blank."""
    parts = turned(exchange([100.0, HEAD + sent(EVENT), 50.0, sent(EVENT) + END], lane=lane))

    _, body = unchunked(parts)
    assert body.count(PING) >= 7
    told = [line for line in body.split(b"\n") if line and not line.startswith(b":")]
    assert [json.loads(line.removeprefix(b"data: "))["id"] for line in told[:-1]] == ["1", "1"]
    assert told[-1] == b"data: [DONE]"
    # A parser that takes a comment for an event of its own sees nothing but the comment in it.
    assert {event for event in body.split(b"\n\n") if event.startswith(b":")} == {b": ping"}


def test_settings_say_how_often_and_whether():
    """0 for each of them is never."""
    script = [100.0, HEAD + sent(EVENT), 50.0, END]
    often = turned(exchange(script, lane=True, general_settings="{stream_keepalive_seconds: 5}"))
    never = turned(exchange(script, lane=True, general_settings="{stream_keepalive_seconds: 0}"))
    late = turned(exchange(script, lane=True, general_settings="{early_commit_seconds: 0}"))

    assert unchunked(often)[1].count(PING) >= 20
    assert PING not in unchunked(never)[1]
    assert not unchunked(late)[1].startswith(PING)
    assert PING in unchunked(late)[1]


async def test_any_failure_behind_an_early_head_is_an_event(proxy):
    """Also one that nobody has thought of: it meets the boundary of the request, as others do."""
    ear, counter = Ear(), proxy.server.snapshot.counter
    ear.begun = Operation.CHAT
    record = counter.begun("POST", "/v1/chat/completions", "")

    async def broken():
        raise ZeroDivisionError

    told = await counter.guard(record, "", broken(), ear)

    assert [told] == ear.said
    assert b"an internal error happened here" in told
    assert told.endswith(DONE)
    assert (record.status, record.error is not None) == (200, True)


def test_debug_view_shows_the_early_head_that_left(caplog):
    """Not the headers that came too late."""
    caplog.set_level("DEBUG", "proxy_cli")

    async def watched():
        async with RawBackend([REQUEST, 40.0, HEAD + sent(EVENT) + END]) as raw:
            async with running_proxy(configured(raw), detailed_debug=True) as proxy:
                return await parts_of(proxy, request_of(lane=True))

    turned(watched())

    (shown,) = [each for each in caplog.records if "caller is answered" in each.getMessage()]
    block = "\n".join(shown.block)
    assert "x-request-id: " in block
    assert "x-litellm-model-id" not in block


@WAYS
def test_stream_that_waits_for_its_turn_is_kept_alive(lane):
    """A place in a queue is silence like any other."""

    async def queued():
        async with RawBackend([REQUEST, 100.0, HEAD + sent(EVENT) + END, REQUEST, HEAD + sent(EVENT) + END]) as raw:
            text = configured(raw).replace("api_key: None}", "api_key: None, max_parallel_requests: 1}", 1)
            async with running_proxy(text) as proxy:
                first = asyncio.ensure_future(parts_of(proxy, request_of(lane=lane)))
                while not raw.requests:
                    await asyncio.sleep(0.01)
                second = await parts_of(proxy, request_of(lane=lane))
                await first
                return second

    parts = turned(queued())

    _, body = unchunked(parts)
    assert parts[-1][0] > 95
    assert body.startswith(PING * 3)
    assert body.endswith(EVENT.replace(b'"m"', b'"gpt-3.5-turbo"') + DONE)
