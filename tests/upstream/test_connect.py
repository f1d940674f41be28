"""Getting a connection: names, addresses, certificates, and the reasons when there is none."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from proxy_cli.errors import BackendBroken, BackendUnreachable, CallerTimeout, ConnectTimeout
from proxy_cli.shapes import Backend, Timeouts, Tls
from proxy_cli.upstream.client import Upstream
from proxy_cli.upstream.connect import too_late
from proxy_cli.upstream.names import Address, Addresses
from tests.fakes.raw_backend import REQUEST, RawBackend
from tests.upstream.dialogue import OK, request_to, serving


async def ask(upstream: Upstream, backend: Backend, timeouts: Timeouts | None = None) -> bytes:
    """The body of one request, with a room that is closed at once."""
    try:
        answer = await upstream.send(request_to(backend, timeouts=timeouts))
        return await answer.read()
    finally:
        await upstream.close()


def by(tls: Tls, backend: Backend) -> Backend:
    """The same server, reached with these settings."""
    return msgspec.structs.replace(backend, tls=tls)


def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def deaf() -> Iterator[tuple[str, int]]:
    """An address that drops what comes: a listener whose queue is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address: tuple[str, int] = full.getsockname()
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address


@pytest.mark.row("U-01")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_refused_connection_names_address_and_reason(host):
    """Once, though a name may stand for two addresses; nothing was sent, so another backend may be asked."""
    backend = Backend("http", host, unused_port())

    with pytest.raises(BackendUnreachable) as failure:
        await ask(Upstream(), backend)

    assert failure.value.message.startswith(f"cannot connect to {backend}: ")
    assert failure.value.message.count("connection refused") == 1 or host == "::1"
    assert (failure.value.status, failure.value.code, failure.value.elsewhere) == (502, "upstream_unavailable", True)


@pytest.mark.row("U-03")
@pytest.mark.parametrize("host", ["no-such-name.invalid", "a..b", "x" * 300])
async def test_name_that_does_not_resolve_is_named(host):
    """Unknown, or none at all."""
    with pytest.raises(BackendUnreachable, match="does not resolve"):
        await ask(Upstream(), Backend("http", host, 80))


@pytest.mark.row("U-03")
async def test_addresses_of_a_name_are_tried_in_turn():
    """`localhost` may be ::1 first, where nobody listens."""
    async with RawBackend([REQUEST, OK]) as raw:
        assert await ask(Upstream(), Backend("http", "localhost", raw.backend.port)) == b"hi"


@pytest.mark.row("U-02")
async def test_connection_that_does_not_come_about_ends_with_the_connect_timer():
    """A listener whose queue is full drops what comes; the timer is named, and another backend may be asked."""
    with deaf() as (host, port), pytest.raises(ConnectTimeout, match=r"within 0.2 s \(connect timeout\)") as failure:
        await ask(Upstream(), Backend("http", host, port), Timeouts(connect_s=0.2))

    assert (failure.value.status, failure.value.elsewhere) == (504, True)


@pytest.mark.row("U-04")
async def test_certificate_that_nobody_vouches_for_is_refused_by_default(own):
    """With the reason and the way out; the server sees no request."""
    async with RawBackend([REQUEST, OK], tls=own.served()) as raw:
        with pytest.raises(BackendUnreachable, match=r"not accepted: self.signed certificate .*ssl_verify"):
            await ask(Upstream(), raw.backend)

        assert raw.requests == []


@pytest.fixture(scope="module")
def folder(own, require, tmp_path_factory) -> Path:
    """A folder of CA certificates under their hashed names."""
    folder = tmp_path_factory.mktemp("ca")
    shutil.copy(own.file, folder)
    subprocess.run([require("openssl"), "rehash", folder], check=True, capture_output=True)
    return Path(folder)


async def test_certificate_is_accepted_when_its_ca_is_given(own, folder):
    """As a file, and as a folder of hashed names."""
    async with RawBackend([REQUEST, OK], tls=own.served()) as raw:
        assert await ask(Upstream(), by(Tls(str(own.file)), raw.backend)) == b"hi"
        assert await ask(Upstream(), by(Tls(str(folder)), raw.backend)) == b"hi"


async def test_verification_can_be_turned_off(other):
    """By setting only: then neither name nor signer matters."""
    async with RawBackend([REQUEST, OK], tls=other.served()) as raw:
        assert await ask(Upstream(), by(Tls(False), raw.backend)) == b"hi"


@pytest.mark.row("U-04")
async def test_certificate_for_another_name_is_refused(other):
    """Even from a signer that is known."""
    async with RawBackend([REQUEST, OK], tls=other.served()) as raw:
        with pytest.raises(BackendUnreachable, match="mismatch"):
            await ask(Upstream(), by(Tls(str(other.file)), raw.backend))


@pytest.mark.row("U-04")
async def test_plain_server_on_a_tls_address_is_told_as_such():
    """A scheme that was mixed up is the likely cause."""
    async with RawBackend([b"HTTP/1.1 400 Bad Request\r\n\r\n"]) as raw:
        with pytest.raises(BackendUnreachable, match=r"the TLS handshake failed.*plain HTTP"):
            await ask(Upstream(), Backend("https", "127.0.0.1", raw.backend.port))


@pytest.mark.row("U-04")
async def test_handshake_that_stalls_ends_with_the_connect_timer():
    """The server accepts and says nothing; we let go of it."""
    async with RawBackend([]) as raw:
        with pytest.raises(ConnectTimeout):
            await ask(Upstream(), Backend("https", "127.0.0.1", raw.backend.port), Timeouts(connect_s=0.2))
        async with asyncio.timeout(1):
            await raw.connections[0].closed.wait()


async def test_handshake_that_is_cut_is_an_error_with_a_reason():
    """A server that hangs up during the handshake."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    async with serving(hang_up) as backend:
        with pytest.raises(BackendUnreachable, match=r"cannot connect to .*: .*(reset|closed|handshake)"):
            await ask(Upstream(), Backend("https", backend.host, backend.port))


async def test_client_certificate_is_shown_to_a_server_that_asks(own, other):
    """And without one such a server is not reached."""
    async with RawBackend([REQUEST, OK], tls=own.served(asks_for=other)) as raw:
        ours = Tls(str(own.file), str(other.file), str(other.key))

        assert await ask(Upstream(), by(ours, raw.backend)) == b"hi"
        with pytest.raises((BackendUnreachable, BackendBroken)):
            await ask(Upstream(), by(Tls(str(own.file)), raw.backend))


async def test_tls_connection_is_kept_and_speaks_http_1(own):
    """Two requests, one handshake."""
    upstream = Upstream()

    async with RawBackend([REQUEST, OK, REQUEST, OK], tls=own.served()) as raw:
        for _ in range(2):
            answer = await upstream.send(request_to(by(Tls(str(own.file)), raw.backend)))
            assert await answer.read() == b"hi"
        assert len(raw.connections) == 1
        await upstream.close()


async def test_nagle_is_off_and_keepalive_on():
    """Small events leave at once, and a peer that vanished is noticed."""
    upstream = Upstream()
    async with RawBackend([REQUEST, OK]) as raw:
        await (await upstream.send(request_to(raw.backend))).read()
        (connection,) = upstream._pools[raw.backend]._open
        assert connection._transport is not None
        sock = connection._transport.get_extra_info("socket")

        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        await upstream.close()


@pytest.mark.row("U-04")
async def test_certificate_that_has_expired_is_refused(certificate):
    """With this very reason, though its signer is trusted."""
    expired = certificate("IP:127.0.0.1", days=-1)

    async with RawBackend([REQUEST, OK], tls=expired.served()) as raw:
        with pytest.raises(BackendUnreachable, match="not accepted: certificate has expired"):
            await ask(Upstream(), by(Tls(str(expired.file)), raw.backend))


async def test_file_that_is_gone_when_a_connection_needs_it_is_named():
    """The settings were checked at the start, and things have changed since."""
    backend = by(Tls("/nowhere/ca.pem"), Backend("https", "127.0.0.1", 1))

    async with RawBackend([]) as raw:
        backend = msgspec.structs.replace(backend, port=raw.backend.port)
        with pytest.raises(BackendUnreachable, match=r"cannot read CA certificates from '/nowhere/ca\.pem'"):
            await ask(Upstream(), backend)


def leads_to(*addresses: tuple[str, int]):
    """A resolver that gives these addresses for every name."""

    async def resolve(_host: str, _port: int) -> Addresses:
        return tuple(Address(socket.AF_INET, address) for address in addresses)

    return resolve


@pytest.mark.row("U-03")
async def test_dead_address_costs_a_name_a_quarter_of_a_second():
    """The second address is tried beside one that does not answer; the connect timer is far off."""
    async with RawBackend([REQUEST, OK]) as raw:
        with deaf() as silent:
            resolve = leads_to(silent, ("127.0.0.1", raw.backend.port))
            loop = asyncio.get_running_loop()
            began = loop.time()

            answered = await ask(Upstream(resolve=resolve), Backend("http", "llm.test", raw.backend.port))

            assert answered == b"hi"
            assert loop.time() - began < 4


@pytest.mark.row("U-03")
async def test_address_that_refuses_costs_nothing_and_the_next_is_tried_at_once():
    """A refusal is an answer."""
    async with RawBackend([REQUEST, OK]) as raw:
        resolve = leads_to(("127.0.0.1", unused_port()), ("127.0.0.1", raw.backend.port))

        assert await ask(Upstream(resolve=resolve), Backend("http", "llm.test", raw.backend.port)) == b"hi"


@pytest.mark.row("U-03", "U-04")
async def test_address_whose_handshake_stalls_or_fails_leaves_time_for_the_next(own):
    """One is silent, one speaks plain HTTP, the third is the server."""
    async with (
        RawBackend([]) as silent,
        RawBackend([b"HTTP/1.1 400 Bad Request\r\n\r\n"]) as plain,
        RawBackend([REQUEST, OK], tls=own.served()) as raw,
    ):
        ports = (silent.backend.port, plain.backend.port, raw.backend.port)
        resolve = leads_to(*(("127.0.0.1", port) for port in ports))
        backend = by(Tls(str(own.file)), Backend("https", "llm.test", raw.backend.port))

        assert await ask(Upstream(resolve=resolve), backend, Timeouts(connect_s=1.5)) == b"hi"


@pytest.mark.row("U-03")
async def test_dead_address_is_tried_last_by_the_connections_that_follow():
    """Only the first one waits for it."""
    async with RawBackend([REQUEST, OK]) as raw:
        with deaf() as silent:
            live = ("127.0.0.1", raw.backend.port)
            upstream = Upstream(resolve=leads_to(silent, live))
            await ask(upstream, Backend("http", "llm.test", raw.backend.port))

            found = await upstream._pools._ways.names.in_order("llm.test", raw.backend.port)

            assert [address.address for address in found] == [live, silent]


async def test_addresses_that_lost_the_race_are_closed():
    """A request needs one connection, and no other is left behind."""
    async with RawBackend([REQUEST, OK]) as raw, RawBackend([]) as late:
        with deaf() as silent:
            resolve = leads_to(silent, ("127.0.0.1", raw.backend.port), ("127.0.0.1", late.backend.port))
            await ask(Upstream(resolve=resolve), Backend("http", "llm.test", raw.backend.port))
            await asyncio.sleep(0.05)

        assert len(raw.connections) == 1
        assert late.connections == []


@pytest.mark.parametrize(
    ("timeouts", "now", "kind"),
    [
        (Timeouts(), 105.0, ConnectTimeout),
        (Timeouts(connect_s=2, first_byte_s=2, total_s=2), 102.0, ConnectTimeout),
        (Timeouts(connect_s=2, first_byte_s=2, total_s=2, set_by_caller=True), 102.0, CallerTimeout),
        (Timeouts(connect_s=2, first_byte_s=2, total_s=None, set_by_caller=True), 102.0, CallerTimeout),
        (Timeouts(first_byte_s=60, total_s=60, set_by_caller=True), 105.0, ConnectTimeout),
    ],
)
def test_connection_that_comes_too_late_is_the_callers_error_when_the_callers_limit_is_over(timeouts, now, kind):
    """Else nothing was sent, and another deployment may be asked."""
    failure = too_late(Backend("http", "llm", 8000), timeouts, 100.0, now)

    assert type(failure) is kind
    assert failure.message.startswith("no connection to http://llm:8000 within ")
    assert failure.elsewhere is (kind is ConnectTimeout)


@pytest.mark.row("U-03")
async def test_name_that_is_looked_up_for_too_long_is_told_as_such():
    """The connect timer covers the look-up, and the message says where the time went."""

    async def resolve(_host: str, _port: int) -> Addresses:
        await asyncio.sleep(60)
        return ()

    with pytest.raises(ConnectTimeout, match=r"within 0.1 s \(connect timeout\); its name is still being looked up"):
        await ask(Upstream(resolve=resolve), Backend("http", "llm.test", 80), Timeouts(connect_s=0.1))


@pytest.mark.row("A-20")
async def test_a_name_that_leads_to_a_metadata_service_is_not_followed():
    """Whatever it led to when it was written down; nothing is sent."""
    upstream = Upstream(resolve=leads_to(("169.254.169.254", 80)))

    with pytest.raises(BackendUnreachable, match="leads to a metadata service"):
        await ask(upstream, Backend("http", "llm.test", 80))


@pytest.mark.row("A-20")
async def test_of_a_names_addresses_those_of_metadata_services_are_left_out():
    """The others are asked as ever."""
    async with RawBackend([REQUEST, OK]) as raw:
        resolve = leads_to(("169.254.169.254", 80), ("127.0.0.1", raw.backend.port))

        assert await ask(Upstream(resolve=resolve), Backend("http", "llm.test", raw.backend.port)) == b"hi"
