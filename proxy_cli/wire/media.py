"""Where pictures, sound and files stand in a request's JSON.

Pure. Owns the names of the members that hold them. Rule: a text is a text whatever it looks like, so that nobody makes
his prompt smaller by letters that a picture might have.
"""

from collections.abc import Sequence
from typing import Final

_HOLDERS: Final = frozenset(
    {b"url", b"image_url", b"data", b"file_data", b"b64_json", b"image", b"audio", b"video", b"bytes"}
)


def holds_media(pieces: Sequence[bytes], at: int) -> bool:
    """Whether a string of JSON that was cut at its quotes is the value of a member that holds no text."""
    return at >= 2 and pieces[at - 2] in _HOLDERS and pieces[at - 1].strip() == b":"
