"""Streamed request bodies: their framing, their pace, their failures."""

import asyncio

import pytest

from proxy_cli.shapes import Backend
from proxy_cli.upstream.upload import upload
from proxy_cli.upstream.watch import Watch
from tests.upstream.dialogue import Pieces


class Tray:
    """An outlet that keeps what it is given, and may be full."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.room = asyncio.Event()
        self.room.set()

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written.append(data)

    async def drain(self) -> None:
        """Wait for room."""
        await self.room.wait()


def watch() -> Watch:
    """One that nobody waits for."""
    loop = asyncio.get_running_loop()
    return Watch(Backend("http", "llm", 1), loop)


async def test_body_of_unknown_length_goes_out_in_chunks():
    """Each piece is a chunk, and the last one says so."""
    tray = Tray()

    await upload(tray, Pieces(b"abc", b"x" * 20), watch())

    assert tray.written == [b"3\r\nabc\r\n", b"14\r\n" + b"x" * 20 + b"\r\n", b"0\r\n\r\n"]


async def test_body_of_known_length_goes_out_as_it_is():
    """No framing but the length that was announced."""
    tray = Tray()

    await upload(tray, Pieces(b"abc", b"de", length=5), watch())

    assert tray.written == [b"abc", b"de"]


@pytest.mark.parametrize("length", [4, 6])
async def test_a_length_that_is_not_kept_is_an_error(length):
    """And nothing beyond the length is ever written, where it would be read as a second request."""
    tray = Tray()

    with pytest.raises(ValueError, match=f"of {length} bytes was announced"):
        await upload(tray, Pieces(b"abc", b"de", length=length), watch())

    assert len(b"".join(tray.written)) <= length


async def test_source_is_not_asked_while_the_backend_has_enough():
    """The pace is the backend's."""
    tray = Tray()
    tray.room.clear()
    sending = asyncio.ensure_future(upload(tray, Pieces(b"a", b"b"), watch()))

    await asyncio.sleep(0.02)
    before = list(tray.written)
    tray.room.set()
    await sending

    assert before == [b"1\r\na\r\n"]
    assert tray.written[1:] == [b"1\r\nb\r\n", b"0\r\n\r\n"]
