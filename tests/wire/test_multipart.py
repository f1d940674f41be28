"""Uploads: passed on while they come in, with another model's name and nothing else changed."""

from collections.abc import Callable, Iterator
from email import message_from_bytes
from typing import Any

import pytest

from proxy_cli.errors import BackendBroken, InvalidRequest, TooLarge
from proxy_cli.wire.multipart import FormUpload, Rewritten, receive

BOUNDARY = "x-boundary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
SOUND = bytes(range(256)) * 40 + b"\r\n--x-boundar\r\n--"
FILE = part("file", SOUND, '; filename="../../etc/passwd"\r\nContent-Type: audio/wav')
MODEL = part("model", b"whisper-1")
STREAM = part("stream", b"true")
MODEL_FIRST = MODEL + STREAM + FILE + END
MODEL_LAST = FILE + MODEL + STREAM + END
FORMS = {
    "model first": MODEL_FIRST,
    "model last": MODEL_LAST,
    "between files": FILE + MODEL + FILE + END,
    "empty model": part("model", b"") + FILE + END,
    "no model": STREAM + FILE + END,
}


class Client:
    """Sends a form in pieces and counts how many were taken."""

    def __init__(self, body: bytes, size: int = 1000) -> None:
        self._pieces: Iterator[bytes] = iter([body[at : at + size] for at in range(0, len(body), size)])
        self.taken = 0

    async def read(self) -> bytes:
        self.taken += 1
        return next(self._pieces, b"")


async def start(body: bytes, size: int = 1000, length: int | None = None, **options: Any) -> tuple[FormUpload, Client]:
    client = Client(body, size)
    upload = await receive(client.read, CONTENT_TYPE, length, **{"max_bytes": 1_000_000} | options)
    return upload, client


async def whole(source: Rewritten) -> bytes:
    pieces = []
    while piece := await source.read():
        pieces.append(piece)
    assert await source.read() == b""
    return b"".join(pieces)


def parts_of(body: bytes) -> list[tuple[str, bytes]]:
    """The names and contents, as the standard library reads them."""
    message = message_from_bytes(f"Content-Type: {CONTENT_TYPE}\r\n\r\n".encode() + body)
    parts: Any = message.get_payload()
    return [(item.get_param("name", header="content-disposition"), item.get_payload(decode=True)) for item in parts]


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 100_000])
@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
async def test_only_the_model_is_rewritten(body, size):
    """Whatever the order and the pieces; the length is told before and is right."""
    upload, _ = await start(body, size, length=len(body))
    source = upload.rewritten("日本-large", {})
    length = source.length

    sent = await whole(source)
    upload.close()

    expected = [(name, "日本-large".encode() if name == "model" else value) for name, value in parts_of(body)]
    if body is FORMS["no model"]:
        expected.append(("model", "日本-large".encode()))
    else:
        old = b"" if body is FORMS["empty model"] else b"whisper-1"
        assert sent == body.replace(b'name="model"\r\n\r\n' + old, b'name="model"\r\n\r\n' + "日本-large".encode())
    assert parts_of(sent) == expected
    assert length == len(sent)


@pytest.mark.parametrize("size", [1, 13, 1000, 100_000])
@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
async def test_defaults_are_added_where_the_form_has_none(body, size):
    """At the end, in front of the closing boundary; a field that the client sent wins."""
    upload, _ = await start(body, size, length=len(body))
    source = upload.rewritten("m", {"stream": "false", "language": "ja", 'odd"name': "1"})
    length = source.length

    sent = await whole(source)
    upload.close()

    found = dict(parts_of(sent))
    assert found["model"] == b"m"
    assert found["stream"] == (b"true" if b"stream" in body else b"false")
    assert (found["language"], found["odd%22name"]) == (b"ja", b"1")
    assert length in {None, len(sent)}


async def test_a_form_with_its_model_first_is_not_kept():
    """No more is read than up to the first file; the rest comes while it is sent."""
    upload, client = await start(MODEL_FIRST, 200, length=len(MODEL_FIRST))
    taken = client.taken

    source = upload.rewritten("m", {})
    first = await source.read()

    assert (upload.model, upload.fields) == ("whisper-1", {"stream": "true"})
    assert taken <= 3
    assert client.taken == taken
    assert first
    assert source.length == len(MODEL_FIRST) - len("whisper-1") + 1
    upload.close()


async def test_a_form_with_its_model_last_is_spooled(tmp_path):
    """A large one goes to a temporary file without a name of the client's, which is gone afterwards."""
    body = part("file", b"x" * 3_000_000, '; filename="../../etc/passwd"') + MODEL + END
    upload, client = await start(body, 65536, max_bytes=4_000_000, spool_dir=str(tmp_path))

    sent = await whole(upload.rewritten("m", {}))
    names = [path.name for path in tmp_path.rglob("*")]
    upload.close()

    assert sent == body.replace(b"whisper-1", b"m")
    assert not any("passwd" in name for name in names)
    assert list(tmp_path.rglob("*")) == []
    assert client.taken > 40


async def test_a_stored_form_can_be_sent_again_and_a_streamed_one_cannot():
    """Another deployment may be asked as long as nothing was sent that is not kept."""
    stored, _ = await start(MODEL_LAST)
    streamed, _ = await start(MODEL_FIRST, 200)

    assert await whole(stored.rewritten("a", {})) == MODEL_LAST.replace(b"whisper-1", b"a")
    assert await whole(stored.rewritten("bb", {})) == MODEL_LAST.replace(b"whisper-1", b"bb")
    await streamed.rewritten("a", {}).read()
    assert await whole(streamed.rewritten("bb", {})) == MODEL_FIRST.replace(b"whisper-1", b"bb")
    with pytest.raises(BackendBroken, match="cannot be sent again"):
        streamed.rewritten("c", {})
    stored.close()
    streamed.close()


@pytest.mark.parametrize(("body", "length"), [(MODEL_FIRST, None), (MODEL_LAST, len(MODEL_LAST) - 8)])
async def test_a_length_that_was_not_told_is_known_for_a_stored_form_only(body, length):
    """Chunked in is chunked out while it streams."""
    upload, _ = await start(body, 200)

    assert upload.rewritten("m", {}).length == length
    upload.close()


@pytest.mark.row("H-21", "H-22")
async def test_a_form_over_the_limit_is_refused():
    """By its announced length before a byte is read, by its real one wherever the limit is met."""
    client = Client(MODEL_FIRST)
    with pytest.raises(TooLarge):
        await receive(client.read, CONTENT_TYPE, 1001, max_bytes=1000)
    with pytest.raises(TooLarge):
        await start(MODEL_LAST, max_bytes=5000)
    upload, _ = await start(MODEL_FIRST, max_bytes=5000)

    with pytest.raises(TooLarge):
        await whole(upload.rewritten("m", {}))
    assert client.taken == 0
    upload.close()


@pytest.mark.row("H-27")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:-10],
        lambda body: body[: len(body) // 2],
        lambda body: body.replace(END, MODEL + MODEL + END),
        lambda body: body.replace(END, part("metadata[api_base]", b"http://canary") + END),
        lambda body: body + b"more",
    ],
)
@pytest.mark.parametrize("body", [MODEL_FIRST, MODEL_LAST])
async def test_a_spoiled_form_is_refused_wherever_the_fault_lies(body, spoil: Callable[[bytes], bytes]):
    """Before anything is sent, or while it is; the end never looks like a proper one."""

    async def send() -> None:
        upload, _ = await start(spoil(body), 200)
        try:
            await whole(upload.rewritten("m", {"language": "ja"}))
        finally:
            upload.close()

    with pytest.raises(InvalidRequest):
        await send()


async def test_a_content_type_without_boundary_is_refused():
    """Before anything is read."""
    client = Client(MODEL_FIRST)

    with pytest.raises(InvalidRequest, match="boundary"):
        await receive(client.read, "multipart/form-data", None, max_bytes=1000)
    assert client.taken == 0


@pytest.mark.parametrize(("boundary", "shown"), [("abc-1", "abc-1"), ('"a b"', '"a b"'), ('"abc"', "abc")])
async def test_the_content_type_is_written_anew(boundary, shown):
    """Nothing of the client's header goes on but the boundary."""
    client = Client(MODEL_FIRST.replace(BOUNDARY.encode(), boundary.strip('"').encode()))

    upload = await receive(client.read, f"multipart/form-data; x=y; boundary={boundary}", None, max_bytes=100_000)

    assert upload.content_type == f"multipart/form-data; boundary={shown}"
    upload.close()
