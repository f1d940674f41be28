"""An address to listen on, as a setting writes it: `HOST:PORT`, `PORT` of this machine alone, or `unix:PATH`."""

import re
from typing import Final

_LOCAL: Final = "127.0.0.1"
_UNIX: Final = "unix:"
_PLACE: Final = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:/@\[\]]+):)?(?P<port>[0-9]{1,5})")
_LARGEST: Final = 65535
_CURE: Final = "write it as 127.0.0.1:4001, [::1]:4001 or unix:/run/llmproxy-admin.sock"


def parse_bind(text: str) -> tuple[str, int]:
    """Host and port; the port of a socket in the file system is 0. Raises ValueError with a sentence."""
    if text.startswith(_UNIX) and len(text) > len(_UNIX):
        return text, 0
    found = _PLACE.fullmatch(text)
    if found is None or not 0 < int(found["port"]) <= _LARGEST:
        raise ValueError(f"{text!r} is no address to listen on; {_CURE}")
    return found["host"] or _LOCAL, int(found["port"])
