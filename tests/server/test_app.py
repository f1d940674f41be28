"""A server's start, its configurations, and its way out."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from proxy_cli.server.app import Server
from tests.fakes.backend import running_backend
from tests.fakes.proxy import nobody_reloads, prepared
from tests.server.conftest import chat, seed_like

PATH = "/v1/chat/completions"


@asynccontextmanager
async def started(config):
    """A server, its address, and a client for it; whatever the test leaves is stopped."""
    server = Server(prepared(config), nobody_reloads)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    await server.start(listener)
    async with aiohttp.ClientSession() as client:
        try:
            yield server, url, client
        finally:
            await server.stop()


async def until(what, *, within_s=5):
    """Wait until something is true."""
    async with asyncio.timeout(within_s):
        while not what():
            await asyncio.sleep(0.01)


async def told(client, url, **more):
    """Status and text of a request."""
    async with client.request(more.pop("method", "GET"), url, **more) as response:
        return response.status, await response.text()


def asking(client, url, **body):
    """A chat request under way; its response."""
    return asyncio.ensure_future(client.post(url + PATH, json=chat(**body)))


async def test_stopping_lets_a_request_under_way_finish():
    """New connections are refused, the old answer comes whole, and says that the connection ends."""
    async with running_backend() as backend, started(seed_like(backend.url)) as (server, url, client):
        under_way = asking(client, url, content="[[mock delay=0.5]]")
        await until(lambda: backend.requests)

        await server.stop()

        async with await under_way as response:
            assert response.status == 200
            assert response.headers["connection"] == "close"
            await response.read()
        assert server.requests_served == 1
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(url)


async def test_stopping_closes_the_connections_to_backends():
    """Nothing is left open at either side."""
    async with running_backend() as backend:
        server = Server(prepared(seed_like(backend.url)), nobody_reloads)
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await server.start(listener)
        async with aiohttp.ClientSession() as client:
            async with client.post(url + PATH, json=chat()) as response:
                await response.read()

        async with asyncio.timeout(2):
            await server.stop()

    assert listener.fileno() == -1


@pytest.mark.row("O-01")
async def test_readiness_says_no_while_clients_are_still_accepted():
    """A load balancer sees it before a connection fails; the process lives, and says so."""
    config = seed_like("http://127.0.0.1:1") + "\n        general_settings: {drain_wait_seconds: 0.5}\n"
    async with started(config) as (server, url, client):
        before = await told(client, f"{url}/health/readiness")
        stopping = asyncio.ensure_future(server.stop(hurry=False))
        await asyncio.sleep(0.1)

        async with aiohttp.ClientSession() as newcomer:
            during, answer = await told(newcomer, f"{url}/health/readiness")
            alive = await told(newcomer, f"{url}/health/liveliness")
            models = await told(newcomer, f"{url}/v1/models")
        await stopping

        assert before[0] == 200
        assert (during, json.loads(answer)["error"]["code"]) == (503, "shutting_down")
        assert alive[0] == models[0] == 200
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(f"{url}/health/readiness")


async def test_clients_are_accepted_while_requests_are_under_way():
    """Without a load balancer the wait ends with the last of them."""
    async with running_backend() as backend, started(seed_like(backend.url)) as (server, url, client):
        under_way = asking(client, url, content="[[mock delay=0.6]]")
        await until(lambda: backend.requests)
        stopping = asyncio.ensure_future(server.stop(hurry=False))
        await asyncio.sleep(0.1)

        async with aiohttp.ClientSession() as newcomer:
            during = await told(newcomer, f"{url}/v1/models")
        async with asyncio.timeout(3):
            await stopping
            async with await under_way as response:
                assert response.status == 200

    assert during[0] == 200


async def test_idle_server_stops_without_a_wait():
    """Whoever presses Ctrl-C waits for nothing."""
    async with started(seed_like("http://127.0.0.1:1")) as (server, _, _):
        async with asyncio.timeout(1):
            await server.stop(hurry=False)


@pytest.mark.row("O-01")
async def test_idle_connections_are_closed_after_listening_has_stopped():
    """What was asked on one of them until then is answered."""
    async with started(seed_like("http://127.0.0.1:1")) as (server, url, _):
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        idle = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0.02)

        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: here\r\n\r\n")
        answer = await reader.read()
        await stopping

        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer.lower()
        assert await idle[0].read() == b""
        writer.close()
        idle[1].close()


@pytest.mark.row("O-01")
async def test_client_that_has_just_come_may_still_ask():
    """It was accepted, and a busy client needs a moment to say what it wants."""
    async with started(seed_like("http://127.0.0.1:1")) as (server, url, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0.4)

        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: here\r\n\r\n")
        answer = await reader.read()
        await stopping
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.row("O-01")
async def test_streams_have_a_grace_and_then_end_with_an_error_event():
    """Whoever reads one is told that it is not whole."""
    settings = "\n        general_settings: {drain_timeout_seconds: 0.1, drain_stream_timeout_seconds: 0.6}\n"
    async with (
        running_backend(gap_s=0.2) as backend,
        started(seed_like(backend.url) + settings) as (server, url, client),
    ):
        async with client.post(url + PATH, json=chat("word " * 200, stream=True)) as response:
            first = await response.content.readline()
            began_s = asyncio.get_running_loop().time()
            stopping = asyncio.ensure_future(server.stop())
            rest = await response.read()
            lasted_s = asyncio.get_running_loop().time() - began_s
        await stopping

    events = [line[6:] for line in rest.splitlines() if line.startswith(b"data: ")]
    assert first.startswith(b"data: ")
    assert json.loads(events[-2])["error"]["code"] == "shutting_down"
    assert events[-1] == b"[DONE]"
    assert lasted_s >= 0.5


async def test_request_that_takes_longer_than_it_may_is_told_so():
    """An error of ours, not a connection that breaks."""
    settings = "\n        general_settings: {drain_timeout_seconds: 0.2}\n"
    async with running_backend() as backend, started(seed_like(backend.url) + settings) as (server, url, client):
        under_way = asking(client, url, content="[[mock delay=30]]")
        await until(lambda: backend.requests)

        async with asyncio.timeout(5):
            await server.stop()
            async with await under_way as response:
                answer = await response.json()

    assert response.status >= 500
    assert answer["error"]["code"] == "shutting_down"


@pytest.mark.row("C-62")
async def test_new_configuration_answers_new_requests_and_old_streams_keep_the_old_one():
    """The stream that was under way ends as if nothing had happened."""
    async with (
        running_backend(gap_s=0.05) as old,
        running_backend() as new,
        started(seed_like(old.url)) as (server, url, client),
    ):
        async with client.post(url + PATH, json=chat("word " * 20, stream=True)) as response:
            await response.content.readline()

            server.take(prepared(seed_like(new.url)))
            async with client.post(url + PATH, json=chat()) as other:
                assert other.status == 200
                await other.read()
            rest = await response.read()

        assert len(old.requests) == 1
        assert len(new.requests) == 1
        assert rest.rstrip().endswith(b"data: [DONE]")
        assert b"error" not in rest


async def test_configuration_that_nobody_uses_any_more_is_let_go():
    """What it has served stays counted; connections that both use stay open."""
    async with running_backend() as backend, started(seed_like(backend.url)) as (server, url, client):
        for _ in range(3):
            async with client.post(url + PATH, json=chat()) as response:
                await response.read()
            server.take(prepared(seed_like(backend.url)))
        kept = server.snapshot.upstream

        await until(lambda: len(server.snapshots) == 1)
        async with client.post(url + PATH, json=chat()) as response:
            await response.read()

        assert server.requests_served == 4
        assert server.snapshot.upstream is kept
        assert len({seen.peer for seen in backend.requests}) == 1


async def test_configuration_with_other_limits_has_connections_of_its_own():
    """The old ones end with the last request that uses them."""
    async with running_backend() as backend, started(seed_like(backend.url)) as (server, url, client):
        before = server.snapshot.upstream
        under_way = asking(client, url, content="[[mock delay=0.4]]")
        await until(lambda: backend.requests)

        settings = "\n        general_settings: {max_response_size_mb: 1}\n"
        server.take(prepared(seed_like(backend.url) + settings))
        async with await under_way as response:
            assert response.status == 200

        assert server.snapshot.upstream is not before
        await until(lambda: len(server.snapshots) == 1)


async def test_what_is_no_http_is_answered_as_the_newest_configuration_wants_it():
    """Also errors that come before any route."""
    async with started(seed_like("http://127.0.0.1:1")) as (server, url, _):
        server.take(prepared(seed_like("http://127.0.0.1:1") + "\n        general_settings: {compat: litellm}\n"))

        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"NO HTTP AT ALL\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "400"
