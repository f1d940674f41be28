"""A backend whose network is cut in the middle of a stream, without a word: no FIN, no RST, no packet at all."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from proxy_cli.errors import BackendTimeout
from proxy_cli.shapes import Backend, Timeouts
from tests.upstream.dialogue import request_to

SERVER = """
import socket, time
listener = socket.create_server((HOST, 8000))
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n")
    try:
        while True:
            connection.sendall(b"9\\r\\ndata: x\\n\\n\\r\\n")
            time.sleep(0.02)
    except OSError:
        pass
"""


class Link(NamedTuple):
    """A network of two machines."""

    backend: Backend
    cut: Callable[[], None]


@pytest.fixture
def link(require) -> Iterator[Link]:
    """A server in a network namespace of its own, at the other end of a pair of virtual interfaces."""
    ip = require("ip")
    if os.geteuid() != 0:
        pytest.skip("only root may make a network namespace")
    number = os.getpid() % 16_000
    space, here, there = f"llmproxy{number}", f"lp{number}a", f"lp{number}b"
    ours, theirs = (f"198.18.{number // 64}.{number % 64 * 4 + host}" for host in (1, 2))

    def run(*words: str) -> None:
        subprocess.run([ip, *words], check=True, capture_output=True)

    try:
        run("netns", "add", space)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine allows no network namespace: {error.stderr.decode().strip()}")
    server = None
    try:
        run("link", "add", here, "type", "veth", "peer", "name", there, "netns", space)
        run("address", "add", f"{ours}/30", "dev", here)
        run("link", "set", here, "up")
        run("-n", space, "address", "add", f"{theirs}/30", "dev", there)
        run("-n", space, "link", "set", there, "up")
        command = [ip, "netns", "exec", space, sys.executable, "-c", f"HOST = {theirs!r}\n{SERVER}"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        yield Link(Backend("http", theirs, 8000), lambda: run("link", "set", here, "down"))
    finally:
        if server is not None:
            server.kill()
            server.communicate()
        subprocess.run([ip, "link", "delete", here], check=False, capture_output=True)
        subprocess.run([ip, "netns", "delete", space], check=False, capture_output=True)


@pytest.mark.row("U-10")
async def test_stream_whose_network_is_cut_ends_with_the_gap_timer(upstream, link):
    """The error names the timer, and nothing of the connection is left."""
    answer = await upstream.send(request_to(link.backend, stream=True, timeouts=Timeouts(gap_s=0.5, total_s=None)))
    for _ in range(3):
        assert await answer.chunk()
    link.cut()

    with pytest.raises(BackendTimeout, match=r"no more data .* within 0.5 s \(gap timeout\)"):
        await answer.read()
    await asyncio.sleep(0)

    assert upstream.figures()[str(link.backend)].open == 0
