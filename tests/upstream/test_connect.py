"""Getting a connection: names, addresses, certificates, and the reasons when there is none."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from proxy_cli.errors import BackendUnreachable, ConnectTimeout
from proxy_cli.shapes import Backend, Timeouts
from proxy_cli.upstream.client import Upstream
from proxy_cli.upstream.connect import tls_context
from tests.fakes.raw_backend import REQUEST, RawBackend
from tests.upstream.dialogue import OK, request_to, serving


class Certificate(NamedTuple):
    """A certificate that vouches for itself, and its key."""

    file: Path
    key: Path
    both: Path

    def served(self, *, asks_for: "Certificate | None" = None) -> ssl.SSLContext:
        """What a server needs to show it, and to ask for the client's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.both)
        if asks_for:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(asks_for.file)
        return context


@pytest.fixture(scope="module")
def certificate(require, tmp_path_factory) -> Callable[[str], Certificate]:
    """`certificate("IP:127.0.0.1")`: a new self-signed certificate for these names."""
    openssl = require("openssl")

    def make(names: str) -> Certificate:
        folder = tmp_path_factory.mktemp("certificate")
        file, key, both = folder / "cert.pem", folder / "key.pem", folder / "both.pem"
        command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test".split()
        command += ["-days", "2", "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(file)]
        subprocess.run(command, check=True, capture_output=True)
        both.write_bytes(file.read_bytes() + key.read_bytes())
        return Certificate(file, key, both)

    return make


@pytest.fixture(scope="module")
def own(certificate: Callable[[str], Certificate]) -> Certificate:
    """A certificate for the address that the tests use."""
    return certificate("IP:127.0.0.1,DNS:localhost")


@pytest.fixture(scope="module")
def other(certificate: Callable[[str], Certificate]) -> Certificate:
    """A certificate for another name."""
    return certificate("DNS:llm.example")


async def ask(upstream: Upstream, backend: Backend, timeouts: Timeouts | None = None) -> bytes:
    """The body of one request, with a room that is closed at once."""
    try:
        answer = await upstream.send(request_to(backend, timeouts=timeouts))
        return await answer.read()
    finally:
        await upstream.close()


def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)

        with pytest.raises(ConnectTimeout, match=r"within 0.2 s \(connect timeout\)") as failure:
            await ask(Upstream(), Backend("http", "127.0.0.1", address[1]), Timeouts(connect_s=0.2))
        for filler in fillers:
            filler.close()

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
        assert await ask(Upstream(tls=tls_context(str(own.file), None)), raw.backend) == b"hi"
        assert await ask(Upstream(tls=tls_context(str(folder), None)), raw.backend) == b"hi"


async def test_verification_can_be_turned_off(other):
    """By setting only: then neither name nor signer matters."""
    async with RawBackend([REQUEST, OK], tls=other.served()) as raw:
        assert await ask(Upstream(tls=tls_context(False, None)), raw.backend) == b"hi"


@pytest.mark.row("U-04")
async def test_certificate_for_another_name_is_refused(other):
    """Even from a signer that is known."""
    async with RawBackend([REQUEST, OK], tls=other.served()) as raw:
        with pytest.raises(BackendUnreachable, match="mismatch"):
            await ask(Upstream(tls=tls_context(str(other.file), None)), raw.backend)


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
        trusting = Upstream(tls=tls_context(str(own.file), str(other.both)))

        assert await ask(trusting, raw.backend) == b"hi"


async def test_tls_connection_is_kept_and_speaks_http_1(own):
    """Two requests, one handshake."""
    upstream = Upstream(tls=tls_context(str(own.file), None))

    async with RawBackend([REQUEST, OK, REQUEST, OK], tls=own.served()) as raw:
        for _ in range(2):
            answer = await upstream.send(request_to(raw.backend))
            assert await answer.read() == b"hi"
        assert len(raw.connections) == 1
        await upstream.close()


async def test_nagle_is_off_and_keepalive_on():
    """Small events leave at once, and a peer that vanished is noticed."""
    upstream = Upstream()
    async with RawBackend([REQUEST, OK]) as raw:
        await (await upstream.send(request_to(raw.backend))).read()
        (connection,) = upstream._pool._open[raw.backend]
        assert connection._transport is not None
        sock = connection._transport.get_extra_info("socket")

        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        await upstream.close()


@pytest.mark.parametrize("kind", ["missing", "not PEM"])
@pytest.mark.parametrize("setting", ["ssl_verify", "client_certificate"])
def test_certificate_file_that_is_no_use_is_named_at_once(tmp_path, kind, setting):
    """Not at the first request."""
    file = tmp_path / "ca.pem"
    if kind == "not PEM":
        file.write_text("not a certificate")

    with pytest.raises(ValueError, match=f"cannot read certificates from '{file}'"):
        tls_context(str(file) if setting == "ssl_verify" else True, str(file) if setting != "ssl_verify" else None)
