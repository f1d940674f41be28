"""The parts of a multipart form, found while its bytes go by.

Owns: where parts begin and end, their names, the small text values that are read here, and the bounds of it all.
Refuses: what two parsers may read differently (another field's name hidden in a file name, a boundary with a tail, a
preamble), because the part that is checked has to be the part that the backend reads.
Keeps: no more than a header block of 16 KiB, or a delimiter's length of a part's content.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from proxy_cli.errors import InvalidRequest
from proxy_cli.wire.forbidden import refuse_form_field

MAX_PARTS: Final = 100
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_TEXT_BYTES: Final = 1024

# RFC 2046, section 5.1.1: at most 70 of these characters, the last one not a blank.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_BOUNDARY_PARAMETER = re.compile(r';[ \t]*boundary=(?:"([^"\\]*)"|([^\s";]*))', re.IGNORECASE)
_DISPOSITION = re.compile(
    rb'form-data[ \t]*;[ \t]*name=(?:"([^"\\]*)"|([^\s";\\]+))[ \t]*(;.*)?', re.IGNORECASE | re.DOTALL
)
_FILE = re.compile(rb";[ \t]*filename\*?[ \t]*=", re.IGNORECASE)
_SECOND_NAME = re.compile(rb";[ \t]*name\*?[ \t]*=", re.IGNORECASE)
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PLAIN_ENCODINGS = {b"7bit", b"8bit", b"binary"}
_ONCE = {"model", "stream"}  # what we decide on: a second one would leave open which the backend takes


def boundary_of(content_type: str) -> bytes:
    """The boundary that a content type names. Raises InvalidRequest."""
    if len(content_type) > MAX_HEADER_BYTES:
        raise _refused("the content type is too long")
    found = _BOUNDARY_PARAMETER.findall(content_type)
    if len(found) != 1:
        raise _refused("the content type of a form must name one boundary: multipart/form-data; boundary=...")
    boundary: str = found[0][0] or found[0][1]
    if not _BOUNDARY.fullmatch(boundary):
        raise _refused("the boundary of a form is 1 to 70 letters, digits or any of '()+_,-./:=?")
    return boundary.encode()


class Form:
    """Scans a form piece by piece. Each method that gets bytes raises InvalidRequest for what is not a plain form."""

    def __init__(self, boundary: bytes) -> None:
        self.model: str | None = None
        self.model_span: tuple[int, int] | None = None  # where the model's value stands, by offsets into the form
        self.fields: dict[str, str] = {}  # small text values, the last of a name
        self.names: set[str] = set()  # of every part so far
        self.in_file = False
        # Every byte before this offset belongs to parts; the closing delimiter, or what may yet be it, comes after.
        self.settled = 0
        self.closed = False
        self.boundary = boundary
        self._delimiter = b"\r\n--" + boundary
        self._held = bytearray(b"\r\n")  # as if a line ended before the form: so the first delimiter is as the others
        self._offset = -2  # of the first byte held
        self._parts = 0
        self._name = ""
        self._text: bytearray | None = None  # the value so far, for a part whose value is wanted
        self._started_at = 0
        self._step: Callable[[], bool] = self._at_delimiter

    def feed(self, data: bytes) -> None:
        """The next piece of the form."""
        self._held += data
        while self._step():
            pass
        if not self.closed:
            self.settled = max(0, self._offset)

    def finish(self) -> None:
        """The form's bytes have ended."""
        if not self.closed:
            raise _refused("the form ends before its closing boundary; send it whole")

    def _consume(self, count: int) -> None:
        del self._held[:count]
        self._offset += count

    def _at_delimiter(self) -> bool:
        size = len(self._delimiter)
        if not self._held.startswith(self._delimiter[: len(self._held)]):
            raise _refused("the form does not begin with its boundary")
        if len(self._held) < size + 2:
            return False
        follows = bytes(self._held[size : size + 2])
        if follows == b"--":
            self._close()
        elif follows == b"\r\n":
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise _refused(f"the form has more than {MAX_PARTS} parts")
            self._step = self._in_headers
        else:
            raise _refused("a boundary in the form is followed by something else than a line end")
        self._consume(size + 2)
        return True

    def _close(self) -> None:
        if not self._parts:
            raise _refused("the form has no parts")
        self.settled = self._offset
        self.closed = True
        self._step = self._after_the_end

    def _after_the_end(self) -> bool:
        if self._held.strip():
            raise _refused("the form goes on after its closing boundary")
        self._consume(len(self._held))
        return False

    def _in_headers(self) -> bool:
        end = self._held.find(b"\r\n\r\n", 0, MAX_HEADER_BYTES)
        if self._held.startswith(b"\r\n"):
            raise _refused("a part of the form has no Content-Disposition with a name")
        if end < 0:
            if len(self._held) >= MAX_HEADER_BYTES:
                raise _refused(f"a part of the form has headers of more than {MAX_HEADER_BYTES} bytes")
            return False
        self._begin(bytes(self._held[:end]))
        self._consume(end + 4)
        self._started_at = self._offset
        self._step = self._in_body
        return True

    def _begin(self, block: bytes) -> None:
        name, self.in_file = _name_and_kind(block)
        refuse_form_field(name)
        if name == "_charset_":
            # RFC 7578, section 4.6: it changes how all values are read, and not everybody heeds it.
            raise _refused("the form has a field '_charset_'; send its values in UTF-8 and leave the field out")
        if name in _ONCE and name in self.names:
            raise InvalidRequest(f"the form has '{name}' twice; send it once", code="duplicate_field", param=name)
        if name == "model" and self.in_file:
            raise InvalidRequest("'model' must be a text field, not a file", code="invalid_type", param="model")
        self._name = name
        self.names.add(name)
        self._text = None if self.in_file else bytearray()

    def _in_body(self) -> bool:
        found = self._held.find(self._delimiter)
        # Without a delimiter, its first bytes may still be the last ones here.
        count = found if found >= 0 else max(0, len(self._held) - len(self._delimiter) + 1)
        if self._text is not None and len(self._text) <= MAX_TEXT_BYTES:
            self._text += self._held[: min(count, MAX_TEXT_BYTES + 1)]
        self._consume(count)
        if found < 0:
            return False
        self._end_part()
        self._step = self._at_delimiter
        return True

    def _end_part(self) -> None:
        self.in_file = False
        if self._text is None:
            return
        value = bytes(self._text)
        if self._name == "model":
            self.model = _model(value)
            self.model_span = (self._started_at, self._started_at + len(value))
        elif len(value) <= MAX_TEXT_BYTES:
            self.fields[self._name] = value.decode("utf-8", "replace")


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_form", param="request_body")


def _model(value: bytes) -> str:
    if len(value) > MAX_TEXT_BYTES:
        raise InvalidRequest(f"'model' is longer than {MAX_TEXT_BYTES} bytes", code="invalid_value", param="model")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("'model' is not UTF-8", code="invalid_value", param="model") from None


def _headers(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The headers of a part, their names in lower case."""
    if _CONTROLS.search(block.replace(b"\r\n", b"")):
        # To some readers a lone CR or LF ends a line too, and a NUL a name.
        raise _refused("a part of the form has a control character in its headers")
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or line[:1] in b" \t":
            raise _refused("a part of the form has a header line that is none")
        yield name.lower(), value


def _name_and_kind(block: bytes) -> tuple[str, bool]:
    """The name of a part, and whether it is a file, by its headers."""
    found = None
    for kind, value in _headers(block):
        if kind == b"content-transfer-encoding" and value.strip().lower() not in _PLAIN_ENCODINGS:
            raise _refused("a part of the form has a Content-Transfer-Encoding; send it as it is")
        if kind == b"content-disposition":
            if found is not None:
                raise _refused("a part of the form has two Content-Dispositions")
            found = _DISPOSITION.fullmatch(value.strip())
            if found is None:
                raise _refused('a part of the form has no plain name; send Content-Disposition: form-data; name="..."')
    if found is None:
        raise _refused("a part of the form has no Content-Disposition with a name")
    rest = found[3] or b""
    if _SECOND_NAME.search(rest):
        raise _refused("a part of the form has two names")
    try:
        return (found[1] if found[1] is not None else found[2]).decode(), bool(_FILE.search(rest))
    except UnicodeDecodeError:
        raise _refused("a part of the form has a name that is not UTF-8") from None
