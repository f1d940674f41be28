"""Uploads on their way through: a multipart form goes to the backend while it comes in.

Owns: the wait for the form's `model`, and the body with another name in it. If `model` comes before the files, they are
not kept; if it comes after one, what came so far waits in a temporary file, which is in memory while it is small.
Refuses: forms over the limit, cut short, or not plain (see form.py).
Keeps: the bytes of every part but `model`. File names are the backend's to read and touch no disk of ours.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from tempfile import SpooledTemporaryFile
from typing import Final

from proxy_cli.errors import BackendBroken, TooLarge
from proxy_cli.wire.form import Form, boundary_of

_IN_MEMORY_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 64 * 1024
_TOKEN: Final = re.compile(r"[0-9A-Za-z'+_.-]+").fullmatch

Read = Callable[[], Awaitable[bytes]]


async def receive(
    read: Read, content_type: str, length: int | None, *, max_bytes: int, spool_dir: str | None = None
) -> "FormUpload":
    """The form as far as its model is known; the rest is read while it is sent on. Raises InvalidRequest, TooLarge."""
    form = Form(boundary_of(content_type))
    upload = FormUpload(form, read, length, max_bytes=max_bytes, spool_dir=spool_dir)
    try:
        await upload.read_to_model()
    except BaseException:
        upload.close()
        raise
    return upload


class FormUpload:
    """A form that is passed on (see shapes.Upload); close it."""

    def __init__(
        self, form: Form, read: Read, length: int | None, *, max_bytes: int, spool_dir: str | None = None
    ) -> None:
        if length is not None and length > max_bytes:
            raise _too_large(max_bytes)
        self.form = form
        boundary = form.boundary.decode()
        self.content_type = "multipart/form-data; boundary=" + (boundary if _TOKEN(boundary) else f'"{boundary}"')
        self.length = length
        self.complete = False  # all of it has been read
        self._read = read
        self._max_bytes = max_bytes
        self._size = 0  # read so far
        # What was read before the model was known. Closed by `close`, which whoever received the form calls.
        self._spool = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=spool_dir)  # noqa: SIM115
        self._stored = 0

    @property
    def model(self) -> str | None:
        """The name asked for."""
        return self.form.model

    @property
    def fields(self) -> dict[str, str]:
        """The small text fields seen so far: all that stand before the files."""
        return self.form.fields

    def rewritten(self, model: str, defaults: Mapping[str, str]) -> "Rewritten":
        """The form with this model, and the fields added that it does not have.

        May be called again as long as nothing was sent that is not stored; raises BackendBroken after that.
        """
        if self._size > self._stored:
            message = "a part of the upload is already sent and not kept, so it cannot be sent again"
            raise BackendBroken(message, code="upload_not_kept")
        return Rewritten(self, model, defaults)

    def close(self) -> None:
        """Give the temporary file back."""
        self._spool.close()

    async def read_to_model(self) -> None:
        """Read and keep, until the model is known and a file begins, or to the end."""
        while data := await self._next():
            self._spool.write(data)
            self._stored += len(data)
            if self.form.in_file and self.form.model is not None:
                return

    async def piece(self, offset: int) -> bytes:
        """The form's bytes from an offset on: out of the store, then from the client; empty at the end."""
        if offset < self._stored:
            self._spool.seek(offset)
            return self._spool.read(_PIECE_BYTES)
        return b"" if self.complete else await self._next()

    async def _next(self) -> bytes:
        data = await self._read()
        self._size += len(data)
        if self._size > self._max_bytes:
            raise _too_large(self._max_bytes)
        if data:
            self.form.feed(data)
            return data
        self.form.finish()
        self.complete = True
        self.length = self._size
        return b""


class Rewritten:
    """One sending of a form (see shapes.BodySource)."""

    def __init__(self, upload: FormUpload, model: str, defaults: Mapping[str, str]) -> None:
        self._upload = upload
        self._form = upload.form
        self._model = model.encode()
        # A form without a model is read to its end before it gets here, so the model can be one more field to add.
        self._wanted = dict(defaults) if self._form.model_span else {"model": model} | dict(defaults)
        self._wanted = {name: value for name, value in self._wanted.items() if name not in self._form.names}
        self._adding = bool(self._wanted)
        self.length = self._length()
        self._held = bytearray()
        self._position = 0  # of the first byte held, in the form as it came

    async def read(self) -> bytes:
        """The next piece; empty at the end. Raises InvalidRequest or TooLarge for what the client sends on the way."""
        while piece := await self._upload.piece(self._position + len(self._held)):
            self._held += piece
            if out := self._ready():
                return out
        return b""

    def _length(self) -> int | None:
        length = self._upload.length
        if length is None or (self._adding and not self._upload.complete):
            return None
        start, end = self._form.model_span or (0, len(self._model))
        return length + len(self._model) - (end - start) + len(self._additions())

    def _ready(self) -> bytes:
        if not self._adding:
            return self._take(len(self._held))
        # The fields to add go in front of the closing delimiter, so nothing that may be its beginning is sent yet.
        out = self._take(self._form.settled - self._position)
        if self._form.closed and self._position == self._form.settled:
            out += self._additions() + self._take(len(self._held))
            self._adding = False
        return out

    def _take(self, count: int) -> bytes:
        """The next bytes as they came, with the new name where the old one stood."""
        start, taken = self._position, bytes(self._held[:count])
        del self._held[:count]
        self._position += len(taken)
        first, last = self._form.model_span or (-1, -1)
        name = self._model if start <= first < self._position else b""
        return taken[: max(0, first - start)] + name + taken[max(0, last - start) :]

    def _additions(self) -> bytes:
        boundary = self._form.boundary
        return b"".join(
            b'\r\n--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s'
            % (boundary, _quoted(name), value.encode())
            for name, value in self._wanted.items()
            if name not in self._form.names
        )


def _quoted(name: str) -> bytes:
    """As browsers write names: quotes and line ends percent-encoded."""
    return name.encode().replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the form is larger than {max_bytes} bytes, the limit here; send less or raise the limit")
