"""What a call has used where its backend does not say: a guess, so that a budget never counts nothing.

A stream that the caller left has no last event with the usage, and some servers send none at all. The rule to keep: a
guess stands in for a missing count only; a zero that a backend sent is a count.
"""

import re
from collections.abc import Sequence
from typing import Final

from proxy_cli.shapes import Call, Operation, Usage
from proxy_cli.wire.media import holds_media

# Of the encodings in use a token is four characters of English, or one of Japanese, which has three bytes.
_BYTES_PER_TOKEN: Final = 4
# What an event or a body has around its text: id, model, choices. A token an event is the rule; some send more.
_FRAME_BYTES: Final = 400
_ASKED: Final = {
    Operation.CHAT: ("messages", "tools"),
    Operation.COMPLETIONS: ("prompt",),
    Operation.RESPONSES: ("input", "instructions", "tools"),
    Operation.EMBEDDINGS: ("input",),
}
# Pictures and sound are not billed by their length. A look into the middle tells them from text, whatever their size.
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{512}").fullmatch
_LONG_BYTES: Final = 2048
_LONGEST_PREFIX: Final = 256  # data:image/png;base64,


def estimated(call: Call, output_tokens: int) -> Usage | None:
    """The usage of a call about whose answer only the length is known; None where tokens are not what is used."""
    names = _ASKED.get(call.operation)
    if names is None:
        return None
    asked = sum(_text_bytes(bytes(call.fields[name])) for name in names if name in call.fields)
    answered = 0 if call.operation is Operation.EMBEDDINGS else output_tokens
    return Usage(prompt_tokens=-(-asked // _BYTES_PER_TOKEN), completion_tokens=answered)


def _text_bytes(value: bytes) -> int:
    """The length of a JSON value without what is no text in it."""
    pieces = value.split(b'"')
    return len(pieces) - 1 + sum([_length(pieces, at) for at in range(len(pieces))])


def _length(pieces: Sequence[bytes], at: int) -> int:
    piece = pieces[at]
    if len(piece) < _LONG_BYTES or not holds_media(pieces, at):
        return len(piece)
    middle = len(piece) // 2
    if _BASE64(piece, middle, middle + 512) is None:
        return len(piece)
    return piece.find(b",", 0, _LONGEST_PREFIX) + 1


def tokens_in(pieces: int, size: int) -> int:
    """About how many tokens so many events (or one body) of so many bytes in all hold."""
    return max(pieces, (size - pieces * _FRAME_BYTES) // _BYTES_PER_TOKEN)
