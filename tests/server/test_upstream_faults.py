"""A backend that misbehaves, and what a caller of the proxy sees of it: never a hang, never a false success."""

import asyncio
import contextlib
import gzip
import io
import json
import resource
import socket
import time
import zlib
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import MappingProxyType

import aiohttp
import pytest

from tests.fakes.proxy import RunningProxy, running_proxy
from tests.fakes.raw_backend import FIN, REQUEST, RST, RawBackend, Script, Step
from tests.fakes.turned_clock import TurnedLoop
from tests.upstream.dialogue import serving

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ANSWER = (
    '{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    '"content":"日本"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
).encode()
ASKED = {"model": "a", "messages": [{"role": "user", "content": "hello"}]}
DONE = b"data: [DONE]\n\n"
JSON = {"content-type": "application/json"}
END = b"0\r\n\r\n"


def event(content: str) -> bytes:
    """One event of a chat."""
    delta = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    return b"data: %b\n\n" % json.dumps({"id": "1", "model": "m", "choices": [delta]}).encode()


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def reply(body: bytes, *fields: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """A whole reply with a length."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", *fields, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def config(raw: RawBackend, **params: object) -> str:
    """One deployment of the name `a`."""
    given = {"model": "openai/m", "api_base": f"{raw.backend}/v1", "api_key": "sk-secret-of-the-backend", **params}
    # What a backend does once is to be seen: it is not asked again.
    once = "router_settings: {num_retries: 0}\n"
    return f"model_list:\n  - {{model_name: a, litellm_params: {json.dumps(given)}}}\n{once}"


async def asked(proxy: RunningProxy, **more: object) -> tuple[int, bytes, str]:
    """Status, body and type of one answer, within five seconds."""
    async with asyncio.timeout(5), proxy.post("/v1/chat/completions", {**ASKED, **more}) as response:
        return response.status, await response.read(), response.content_type


async def answered(*script: Step | bytes | float, stream: bool = False, **params: object) -> tuple[int, bytes, str]:
    """What a caller gets of a backend that does this."""
    async with RawBackend([REQUEST, *script]) as raw, running_proxy(config(raw, **params)) as proxy:
        return await asked(proxy, stream=stream)


def code_of(body: bytes) -> str:
    """The code of an error, as a whole answer."""
    return str(json.loads(body)["error"]["code"])


def last_error(body: bytes) -> dict[str, object]:
    """The error at the end of a stream; what is below fails where there is none."""
    lines = [line for line in body.decode().splitlines() if line.startswith("data: {")]
    error = json.loads(lines[-1].removeprefix("data: "))["error"]
    assert isinstance(error, dict)
    return error


PLAIN = reply(ANSWER)
STREAM = HEAD + chunk(event("日")) + chunk(event("本")) + chunk(DONE) + END


def some(length: int, deep: bool) -> range:
    """Where to cut: everywhere, or at every so many bytes."""
    return range(0, length, 1 if deep else 23)


@pytest.mark.row("U-09", "U-12")
@pytest.mark.parametrize("end", [RST, FIN])
async def test_plain_reply_that_breaks_anywhere_is_a_502(deep, end):
    """Whichever byte was the last, in the head or in the body."""
    cuts = some(len(PLAIN), deep)
    scripts: list[Script] = [[REQUEST, PLAIN[:cut], end] for cut in cuts]

    async with RawBackend(*scripts) as raw, running_proxy(config(raw)) as proxy:
        for _ in cuts:
            status, body, _ = await asked(proxy)

            assert status == 502
            assert code_of(body) in {"upstream_truncated", "upstream_empty_response"}


@pytest.mark.row("U-09", "U-12", "S-08")
@pytest.mark.parametrize("end", [RST, FIN])
async def test_stream_that_breaks_anywhere_before_its_end_mark_says_so(deep, end):
    """As a 502 before the first event, as the last event after it; whole only when the mark was there."""
    cuts = some(STREAM.index(DONE) + len(DONE) - 2, deep)
    scripts: list[Script] = [[REQUEST, STREAM[:cut], end] for cut in cuts]

    async with RawBackend(*scripts) as raw, running_proxy(config(raw)) as proxy:
        for _ in cuts:
            status, body, _ = await asked(proxy, stream=True)

            if status == 200:
                assert str(last_error(body)["code"]).startswith("upstream_")
            else:
                assert (status, code_of(body).startswith("upstream_")) == (502, True)


@pytest.mark.row("U-05", "U-06")
@pytest.mark.parametrize("drip", [(), [step for byte in PLAIN[:30] for step in (bytes([byte]), 0.03)]])
async def test_backend_that_never_answers_is_a_504_at_the_limit(drip):
    """Nothing at all, or a byte of the head now and then."""
    began = time.monotonic()

    status, body, _ = await answered(*drip, timeout=0.3)

    assert (status, code_of(body)) == (504, "upstream_timeout")
    assert time.monotonic() - began < 2


@pytest.mark.row("U-07")
async def test_stream_whose_first_event_does_not_come_is_a_504():
    """The head alone is no answer: nothing was sent to the caller yet."""
    status, body, _ = await answered(HEAD, stream=True, stream_timeout=0.3)

    assert (status, code_of(body)) == (504, "upstream_timeout")


@pytest.mark.row("U-13")
@pytest.mark.parametrize("body", [ANSWER[:-5], b"7", b"null", b'"text"', b"", b"\xff\xfe"])
async def test_body_that_is_no_json_object_is_a_502(body):
    """However right its length is; the caller is not handed half a text as an answer."""
    status, got, kind = await answered(reply(body))

    assert (status, code_of(got), kind) == (502, "upstream_invalid_json", "application/json")


@pytest.mark.row("U-14")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream_status", [200, 502, 503])
async def test_error_page_is_never_relayed(upstream_status, stream):
    """Some hop's HTML becomes a JSON error; a status that says more than 502 is kept."""
    page = reply(b"<html><h1>Bad gateway</h1></html>", status=f"{upstream_status} X", kind="text/html")

    status, body, kind = await answered(page, stream=stream)

    assert status == (502 if upstream_status == 200 else upstream_status)
    assert kind == "application/json"
    assert b"<h1>" not in body or b"error" in body
    assert json.loads(body)["error"]["message"]


@pytest.mark.row("U-15")
@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", ""])
async def test_wrong_content_type_on_a_good_answer_is_put_right(kind):
    """JSON and events are known by what they hold, and labelled as what they are."""
    whole = await answered(reply(ANSWER, kind=kind))
    stream = await answered(STREAM.replace(b"text/event-stream", kind.encode()), stream=True)

    assert (whole[0], whole[2], json.loads(whole[1])["model"]) == (200, "application/json", "a")
    assert (stream[0], stream[2]) == (200, "text/event-stream")
    assert stream[1].endswith(DONE)


@pytest.mark.row("U-16")
async def test_answer_in_the_other_form_is_converted():
    """Some backends stream whatever they are asked, and some never do; the caller gets what it asked for."""
    whole = await answered(STREAM)
    stream = await answered(PLAIN, stream=True)

    assert (whole[0], whole[2]) == (200, "application/json")
    completion = json.loads(whole[1])
    assert (completion["model"], completion["choices"][0]["message"]["content"]) == ("a", "日本")
    assert (stream[0], stream[2]) == (200, "text/event-stream")
    events = [json.loads(line[6:]) for line in stream[1].decode().splitlines() if line.startswith("data: {")]
    assert {event["model"] for event in events} == {"a"}
    assert events[0]["choices"][0]["delta"]["content"] == "日本"
    assert stream[1].endswith(DONE)


@pytest.mark.row("U-16", "S-12")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param([HEAD, chunk(event("a")), END], 502, id="no end mark"),
        pytest.param([HEAD, chunk(event("a")), FIN], 502, id="cut off"),
        pytest.param([HEAD, chunk(b'data: {"error":{"message":"x","code":429}}\n\n') + END], 429, id="an error"),
        pytest.param([HEAD, chunk(b'data: {"a":1}\n\n' + DONE) + END], 502, id="something else"),
    ],
)
async def test_events_that_are_no_whole_answer_are_an_error_for_who_wants_one(sent, status):
    """Half of it is never put together to look like all of it."""
    got, body, kind = await answered(*sent)

    assert (got, kind) == (status, "application/json")
    assert json.loads(body)["error"]["message"]


@pytest.mark.row("U-18")
@pytest.mark.parametrize("status", [401, 413])
async def test_refusal_in_the_middle_of_an_upload_is_the_callers_answer(status):
    """The backend has read the head only; its words arrive all the same."""
    upload = io.BytesIO(json.dumps({**ASKED, "user": "x" * 10_000_000}).encode())
    refusal = reply(b'{"error":{"message":"no such luck"}}', status=f"{status} No")
    async with RawBackend([Step.HEAD, refusal]) as raw, running_proxy(config(raw)) as proxy:
        async with proxy.post("/v1/chat/completions", data=upload, headers=JSON) as response:
            got, body = response.status, await response.read()

    assert got == status
    assert "no such luck" in json.loads(body)["error"]["message"]


@pytest.mark.row("U-19")
@pytest.mark.parametrize("more", [b"extra", PLAIN.replace(b'"1"', b'"2"')])
async def test_bytes_after_a_reply_never_reach_the_next_caller(more):
    """The connection is given up; the next answer is its own."""
    other = ANSWER.replace(b'"id":"1"', b'"id":"3"')
    async with RawBackend([REQUEST, PLAIN + more], [REQUEST, reply(other)]) as raw:
        async with running_proxy(config(raw)) as proxy:
            first, second = await asked(proxy), await asked(proxy)

    assert [json.loads(body)["id"] for _, body, _ in (first, second)] == ["1", "3"]
    assert len(raw.connections) == 2


@pytest.mark.row("U-20")
async def test_bomb_is_a_502_and_memory_stays_flat():
    """A few kilobytes that stand for gigabytes are not unpacked."""
    bomb = gzip.compress(b"\0" * 1_000_000) * 2000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    status, body, _ = await answered(reply(bomb, "content-encoding: gzip"))

    assert (status, code_of(body)) == (502, "upstream_body_too_large")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 90 * 1024, "in KiB: up to the cap, no more"


@pytest.mark.row("U-21")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect_is_a_502_and_its_target_is_never_asked(status):
    """Neither key nor prompt goes to another host."""
    async with RawBackend([REQUEST]) as canary:
        got, body, _ = await answered(reply(b"", f"location: {canary.backend}/v1/x", status=f"{status} Moved"))

    assert (got, code_of(body)) == (502, "upstream_redirect")
    assert canary.connections == []


def at_leisure(minutes: Callable[[], Coroutine[None, None, tuple[float, int, bytes]]]) -> tuple[float, int, bytes]:
    """What comes of it on a clock that is turned on whenever nothing happens: seconds, status, body."""
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        return runner.run(minutes())


async def stalling(
    *script: bytes | float, own: Mapping[str, float] = MappingProxyType({}), **params: object
) -> tuple[float, int, bytes]:
    """How long a stream of these steps takes to end, its status and its body; with limits of the caller's own."""
    async with RawBackend([REQUEST, HEAD, *script]) as raw, running_proxy(config(raw, **params)) as proxy:
        began = asyncio.get_running_loop().time()
        unlimited = aiohttp.ClientTimeout()
        async with proxy.post("/v1/chat/completions", {**ASKED, **own, "stream": True}, timeout=unlimited) as response:
            body = await response.read()
        return asyncio.get_running_loop().time() - began, response.status, body


PINGS: list[bytes | float] = [30.0, chunk(b": ping\n\n")] * 60


@pytest.mark.row("S-20", "U-07")
@pytest.mark.parametrize(("params", "limit_s"), [({}, 600), ({"stream_timeout": 45}, 45)], ids=["ours", "set"])
def test_stream_of_comments_alone_ends_with_an_error_event(params, limit_s):
    """They are passed on, as they keep other lines open too, and they are no answer: its first event is late."""
    took_s, status, body = at_leisure(lambda: stalling(*PINGS, **params))

    assert status == 200
    assert body.startswith(b": ping\n\n")
    assert f"no first event from the backend within {limit_s} s" in str(last_error(body)["message"])
    assert limit_s - 1 <= took_s <= limit_s + 61


@pytest.mark.parametrize("limit", ["timeout", "stream_timeout"])
def test_stream_of_comments_that_outlasts_the_callers_own_limit_says_whose_it_was(limit):
    """The error is the caller's, and no mark against the backend."""
    _, status, body = at_leisure(lambda: stalling(*PINGS, own={limit: 45.0}))

    assert status == 200
    assert "no first event from the backend within 45 s (first byte timeout)" in str(last_error(body)["message"])
    assert last_error(body)["code"] == "request_timeout"


@pytest.mark.row("S-20")
def test_backend_that_thinks_for_minutes_and_says_so_is_heard():
    """A comment now and then is not data: the shorter limit between two events begins with the first of them."""
    _, status, body = at_leisure(lambda: stalling(*PINGS[:20], chunk(event("x")), 100.0, chunk(DONE) + END))

    assert status == 200
    assert body.replace(b": ping\n\n", b"") == event("x").replace(b'"m"', b'"a"') + DONE


@pytest.mark.row("S-20", "S-21")
@pytest.mark.parametrize("then", [[], PINGS], ids=["silence", "comments"])
def test_stream_that_stalls_after_ten_tokens_ends_with_an_error_event_at_120_s(then):
    """Whether the backend is silent or only keeps the line open."""
    took_s, status, body = at_leisure(lambda: stalling(*[chunk(event("x"))] * 10, *then))

    assert status == 200
    assert body.count(b'"content":"x"') + body.count(b'"content": "x"') == 10
    assert "within 120 s (gap timeout)" in str(last_error(body)["message"])
    assert 119 <= took_s <= 152


@pytest.mark.row("U-26")
@pytest.mark.parametrize("odd", [b"\xff\xfe", b"\\ud83d", b"\\u0000"], ids=["no UTF-8", "a lone surrogate", "NUL"])
async def test_odd_text_in_a_stream_arrives_as_the_backends_bytes(odd):
    """What is passed on is not read as text, so it cannot be spoilt."""
    sent = event("@").replace(b"@", odd)

    status, body, _ = await answered(HEAD + chunk(sent) + chunk(DONE) + END, stream=True)

    assert (status, body) == (200, sent.replace(b'"model": "m"', b'"model": "a"') + DONE)


@pytest.mark.row("U-26")
@pytest.mark.parametrize("odd", [b"\\ud83d", b"\\u0000"], ids=["a lone surrogate", "NUL"])
async def test_odd_text_in_an_answer_arrives_as_the_backends_bytes(odd):
    """Escapes that stand for no character stay what they are."""
    sent = ANSWER.replace("日本".encode(), odd)

    status, body, _ = await answered(reply(sent))

    assert (status, body) == (200, sent.replace(b'"model":"m"', b'"model":"a"'))


@pytest.mark.row("U-27")
async def test_long_answer_is_a_502_whether_it_is_announced_or_not():
    """Over 64 MiB no caller waits for it, and nothing of it is kept."""
    announced = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n"
    in_chunks = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"

    for script in ([announced], [in_chunks, *[chunk(b" " * 2**20)] * 65]):
        status, body, _ = await answered(*script)
        assert (status, code_of(body)) == (502, "upstream_body_too_large")


@pytest.mark.row("U-27", "S-15")
@pytest.mark.parametrize(
    ("size", "fits"),
    [(60_000, True), (512 * 1024, True), (2**20, True), (8 * 2**20 - 200, True), (9 * 2**20, False)],
)
async def test_event_of_any_size_passes_up_to_the_cap(size, fits):
    """8 MiB are one event; what is longer is none."""
    status, body, _ = await answered(HEAD, chunk(event("x" * size)), chunk(DONE) + END, stream=True)

    if fits:
        assert (status, body.count(b"x" * size), body[-len(DONE) :]) == (200, 1, DONE)
    else:
        error = json.loads(body)["error"] if status != 200 else last_error(body)
        assert str(error["code"]).startswith("upstream_")


@pytest.mark.row("U-28")
async def test_cookies_of_a_backend_reach_nobody():
    """Neither the caller who asked nor, later, the backend in the name of another."""
    set_cookie = reply(ANSWER, "set-cookie: session=tenant-a")
    async with RawBackend([REQUEST, set_cookie, REQUEST, set_cookie]) as raw, running_proxy(config(raw)) as proxy:
        for _ in range(2):
            async with proxy.post("/v1/chat/completions", ASKED) as response:
                assert not [name for name, value in response.headers.items() if "tenant-a" in value]

    assert not [request for request in raw.requests if b"cookie" in request.lower()]


@pytest.mark.row("U-31")
async def test_what_we_do_not_know_passes_both_ways():
    """A model's name with slashes, fields of the request and of the reply, and kinds of events, all from the future."""
    strange = ANSWER.replace(b'{"id"', b'{"future":{"a":[1,null]},"id"')
    unknown = b'event: future.kind\ndata: {"type":"future.kind","n":1.50}\n\n'
    script: list[Step | bytes] = [REQUEST, reply(strange), REQUEST, HEAD + chunk(unknown) + chunk(DONE) + END]
    async with RawBackend(script) as raw:
        async with running_proxy(config(raw, model="openai/org/team/model:free")) as proxy:
            _, whole, _ = await asked(proxy, future={"b": 2})
            _, stream, _ = await asked(proxy, stream=True)

    sent = json.loads(raw.requests[0].partition(b"\r\n\r\n")[2])
    assert (sent["model"], sent["future"]) == ("org/team/model:free", {"b": 2})
    assert json.loads(whole)["future"] == {"a": [1, None]}
    assert stream == unknown + DONE


@pytest.mark.row("U-32")
@pytest.mark.parametrize("stream", [False, True])
async def test_interim_replies_are_not_the_answer(stream):
    """Ten of them, as hops in front of a slow model send."""
    interim: list[Step | bytes | float] = [b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 0.005] * 10

    status, body, _ = await answered(*interim, STREAM if stream else PLAIN, stream=stream)

    assert status == 200
    assert body.endswith(DONE) if stream else json.loads(body)["id"] == "1"


@pytest.mark.row("S-16")
@pytest.mark.parametrize("flush", [True, False])
async def test_coded_stream_is_passed_on_plain_and_event_by_event(flush):
    """A backend that compresses all the same is asked not to, and understood; what it flushes is not held back."""
    pack = zlib.compressobj(wbits=31)
    one = pack.compress(event("1")) + (pack.flush(zlib.Z_SYNC_FLUSH) if flush else b"")
    rest = pack.compress(event("2") + DONE) + pack.flush()
    head = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    first = chunk(one) if one else b""
    script: list[Step | bytes | float] = [REQUEST, head + first, 0.3, chunk(rest) + END]

    async with RawBackend(script) as raw, running_proxy(config(raw)) as proxy:
        began = time.monotonic()
        async with proxy.post("/v1/chat/completions", {**ASKED, "stream": True}) as response:
            assert "content-encoding" not in response.headers
            begun = await response.content.readuntil(b"\n\n")
            first_s = time.monotonic() - began
            body = begun + await response.read()

    assert b"accept-encoding: identity\r\n" in raw.requests[0].lower()
    assert body == (event("1") + event("2")).replace(b'"m"', b'"a"') + DONE
    assert (first_s < 0.3) is flush


@pytest.mark.row("S-16")
async def test_coded_stream_that_is_cut_off_ends_with_an_error_event():
    """The coding's own end is missing, and so is the mark."""
    pack = zlib.compressobj(wbits=31)
    sent = pack.compress(event("1")) + pack.flush(zlib.Z_SYNC_FLUSH)
    head = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")

    status, body, _ = await answered(head + chunk(sent), 0.05, END, stream=True)

    assert (status, str(last_error(body)["code"])[:9]) == (200, "upstream_")


@pytest.mark.row("S-17")
@pytest.mark.parametrize("streams", [1, 20])
async def test_event_goes_on_before_the_next_one_comes(streams):
    """Each is in the caller's hands while the backend still waits with the next; none waits for company."""
    gate = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(HEAD + chunk(event("1")))
        await gate.wait()
        writer.write(chunk(event("2")) + chunk(DONE) + END)

    async def one(proxy: RunningProxy) -> bytes:
        async with proxy.post("/v1/chat/completions", {**ASKED, "stream": True}) as response:
            arrived.append(await response.content.readuntil(b"\n\n"))
            if len(arrived) == streams:
                gate.set()
            rest: bytes = await response.read()
            return rest

    arrived: list[bytes] = []
    async with serving(talk) as backend:
        given = {"model": "openai/m", "api_base": f"{backend}/v1", "api_key": "k"}
        text = f"model_list:\n  - {{model_name: a, litellm_params: {json.dumps(given)}}}\n"
        async with running_proxy(text) as proxy, asyncio.timeout(10):
            bodies = await asyncio.gather(*(one(proxy) for _ in range(streams)))

    assert set(arrived) == {event("1").replace(b'"m"', b'"a"')}
    assert {body.endswith(DONE) for body in bodies} == {True}


def resident_bytes() -> int:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def unread(readers: int) -> tuple[float, int, int]:
    """How long callers who never read keep their backends busy, what that takes of memory, and what each was sent."""
    sent = begun = ended = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent, begun, ended
        await reader.readuntil(b"}")
        begun += 1
        writer.write(HEAD)
        piece = chunk(event("x" * 16_000))
        with contextlib.suppress(ConnectionError):
            for _ in range(30_000_000 // len(piece)):
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        ended += 1

    body = json.dumps({**ASKED, "stream": True}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    loop = asyncio.get_running_loop()
    async with serving(talk) as backend:
        given = {"model": "openai/m", "api_base": f"{backend}/v1", "api_key": "k"}
        text = f"model_list:\n  - {{model_name: a, litellm_params: {json.dumps(given)}}}\n"
        async with running_proxy(text) as proxy:
            await asked(proxy, model="none")
            before = resident_bytes()
            with contextlib.ExitStack() as stack:
                began, most = loop.time(), before
                while begun < readers:
                    caller = stack.enter_context(socket.socket())
                    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
                    caller.connect(("127.0.0.1", proxy.port))
                    caller.sendall(request + b"content-length: %d\r\n\r\n%b" % (len(body), body))
                    # One after the other, and one more where one was refused: the work to begin so many is real.
                    await asyncio.sleep(0.05)
                while ended < begun:
                    await asyncio.sleep(1)
                    most = max(most, resident_bytes())
                return loop.time() - began, most - before, sent // begun


@pytest.mark.row("S-22")
def test_callers_who_never_read_cost_little_and_are_cut_off(deep):
    """The backend stalls with them, less than a mebibyte is held for each, and after a minute both sides are closed."""
    readers = 200 if deep else 20

    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        took_s, held_bytes, sent_bytes = runner.run(unread(readers))

    assert 55 <= took_s <= 130
    assert held_bytes < readers * 2**20
    assert sent_bytes < 20_000_000, "of thirty million each: the rest waits at the backend"
