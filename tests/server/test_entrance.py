"""The listening socket of a worker."""

import asyncio
import contextlib
import logging
import os
import resource
import socket
import time
from datetime import UTC, datetime

import pytest

from proxy_cli.server.entrance import Entrance
from proxy_cli.server.tls import tls_context


class Echo(asyncio.Protocol):
    """Sends everything back."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


def listener():
    """A socket that listens on a free port."""
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def made(listening, make=Echo, tls=None):
    """An entrance to it."""
    return Entrance(listening, make, tls=tls, clock=time.monotonic)


def most_files(listening, for_clients):
    """A limit for files with room for so many more clients, however many files this process has open."""
    lowest = os.dup(listening.fileno())
    os.close(lowest)
    return (lowest + for_clients) * 4 // 3  # a quarter is kept back


async def test_client_that_was_connected_before_the_end_is_served():
    """The kernel has accepted it already, so it counts on an answer."""
    listening = listener()
    entrance = made(listening)
    clients = [socket.create_connection(listening.getsockname()) for _ in range(50)]

    await entrance.close()

    for client in clients:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, b"hello")
        async with asyncio.timeout(5):
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b"hello"
        client.close()


async def test_nobody_is_accepted_after_the_end():
    """A refused connection is the honest answer."""
    listening = listener()
    place = listening.getsockname()
    entrance = made(listening)
    entrance.open()

    await entrance.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)


async def test_small_answers_are_not_held_back():
    """No delay of the kernel's own stands before a second small segment."""
    listening, seen = listener(), asyncio.get_running_loop().create_future()

    class Asked(Echo):
        def connection_made(self, transport):
            found = transport.get_extra_info("socket")
            seen.set_result(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    entrance = made(listening, Asked)
    entrance.open()
    with socket.create_connection(listening.getsockname()):
        async with asyncio.timeout(5):
            assert await seen == 1
    await entrance.close()


async def test_clients_of_this_machine_are_not_from_elsewhere():
    """That is what the end of the process goes by."""
    listening = listener()
    entrance = made(listening)
    entrance.open()

    with socket.create_connection(listening.getsockname()):
        await asyncio.sleep(0.05)

    assert not entrance.was_reached_from_elsewhere
    await entrance.close()


@pytest.mark.row("O-06")
async def test_accepting_pauses_without_files_and_goes_on_with_them(caplog):
    """Clients wait in the kernel's queue; the process does not spin; it says what to do, once."""
    listening = listener()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files(listening, 30), before[1]))
    held: list[int] = []
    try:
        entrance = made(listening)
        entrance.open()
        client = socket.create_connection(listening.getsockname())
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(listening.fileno()))
        with caplog.at_level(logging.WARNING):
            began = time.process_time()
            await asyncio.sleep(1.0)
            spent_s = time.process_time() - began
        while held:
            os.close(held.pop())
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, b"hello")
        async with asyncio.timeout(5):
            answer = await asyncio.get_running_loop().sock_recv(client, 100)
        client.close()
        await entrance.close()
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert answer == b"hello"
    assert spent_s < 0.5
    assert [record.message for record in caplog.records] == [
        "new clients have to wait: Too many open files; raise the limit (ulimit -n 65536)"
    ]


@pytest.mark.row("O-06")
async def test_some_files_are_kept_back_for_backends():
    """Clients alone cannot use up all that may be opened."""
    listening = listener()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most_files(listening, 45)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    accepted = []

    class Counted(Echo):
        def connection_made(self, transport):
            super().connection_made(transport)
            accepted.append(transport)

    try:
        entrance = made(listening, Counted)
        entrance.open()
        clients = []
        for _ in range(29):
            clients.append(socket.create_connection(listening.getsockname()))
            await asyncio.sleep(0)
        await asyncio.sleep(0.5)
        free = os.dup(listening.fileno())
        os.close(free)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert len(accepted) < len(clients)
    assert free < most
    for client in clients:
        client.close()
    await entrance.close()


@pytest.mark.row("L-03")
async def test_five_thousand_clients_in_a_moment_are_all_accepted(deep):
    """None is refused, none is forgotten."""
    count = 5000 if deep else 500
    listening = listener()
    entrance = made(listening)
    entrance.open()
    loop = asyncio.get_running_loop()

    async def ask():
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"hello")
        answer = await reader.readexactly(5)
        writer.close()
        await writer.wait_closed()
        return answer

    began_s = loop.time()
    answers = await asyncio.gather(*(ask() for _ in range(count)))

    assert answers == [b"hello"] * count
    assert loop.time() - began_s < 60
    await entrance.close()


async def test_client_without_tls_is_let_go_where_tls_is_spoken(tmp_path, require):
    """It costs a line of the debug log and no connection."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    made_it = await asyncio.create_subprocess_exec(
        *command, "-keyout", str(key), "-out", str(certificate), stderr=asyncio.subprocess.DEVNULL
    )
    assert await made_it.wait() == 0
    listening = listener()
    entrance = made(listening, tls=tls_context(certificate, key, datetime.now(UTC)))
    entrance.open()

    client = socket.create_connection(listening.getsockname())
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    client.setblocking(False)
    async with asyncio.timeout(5):
        while await asyncio.get_running_loop().sock_recv(client, 100):
            pass

    client.close()
    await entrance.close()
