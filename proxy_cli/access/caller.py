"""Whose call it is, for whoever shares something out among callers: a digest of the credential that came with it.

Owns: the way from a request's headers to a short text that is the same for the same credential. Refuses: to say
whether the credential is good. Rule: the credential itself is neither kept nor recognizable in what is returned.
"""

from hashlib import sha256

from proxy_cli.access.keys import CARRIERS
from proxy_cli.shapes import Headers

_CARRIERS = frozenset(CARRIERS)
_DIGITS = 32  # 128 bits: no two callers are taken for one


def caller_of(headers: Headers) -> str:
    """The digest of the presented credential, the first carrier's that has one; "" for a call without."""
    found = {name: value for name, value in reversed(headers) if name in _CARRIERS}
    for name in CARRIERS:
        if (value := found.get(name)) and (key := _bare(value)):
            return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    return ""


def _bare(value: str) -> str:
    """The key without its scheme: a client may send the same one as Bearer today and bare tomorrow."""
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else value.strip()
