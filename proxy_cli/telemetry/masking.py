"""Hides secrets in what is logged: by the name of a header, by the value of a known secret, by the look of a text.

Three nets, because each has holes: a caller's key is no secret that the config knows of, and a foreign error message
has no header names.
"""

import re
from typing import Final

from proxy_cli.secret import Scrubber
from proxy_cli.shapes import Headers

MASK: Final = "***"
_SECRET_NAMES: Final = frozenset(
    {
        "authorization", "proxy-authorization", "cookie", "set-cookie", "api-key", "x-api-key", "x-goog-api-key",
        "x-litellm-api-key", "ocp-apim-subscription-key", "x-amz-security-token", "x-auth-token",
    }
)  # fmt: skip
_SECRET_PARTS: Final = ("secret", "password", "api-key", "apikey", "access-token", "auth-token")
_SCHEMES: Final = frozenset({"bearer", "basic", "token"})
_END: Final = r"[^\s\"',;}\\&]"

_KEY_LOOK: Final = (re.compile(r"\b(sk-|gsk_|AIza|xai-|hf_)[A-Za-z0-9_-]{16,}"), rf"\1{MASK}")
_LOOKS: Final = (
    # Authorization: Bearer xyz, "authorization": "xyz"
    (
        re.compile(rf"(?i)(authorization\\?[\"']?\s*[:=]\s*\\?[\"']?(?:(?:bearer|basic|token)\s+)?){_END}+"),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(?i)\b(bearer\s+){_END}{{8,}}"), rf"\1{MASK}"),
    # api-key: xyz, x-goog-api-key=xyz
    (re.compile(rf"(?i)(api-key\\?[\"']?\s*[:=]\s*\\?[\"']?){_END}{{4,}}"), rf"\1{MASK}"),
    # "api_key": "xyz"
    (re.compile(r"(?i)(\"[\w-]*(?:api_?key|secret|password|access_token)\"\s*:\s*\")[^\"\\]+"), rf"\1{MASK}"),
    # ?key=xyz&
    (re.compile(rf"(?i)([?&](?:key|api[-_]?key|access_token|token|sig|signature)=){_END}+"), rf"\1{MASK}"),
    (re.compile(r"(://[^\s/@:\"']*:)[^\s/@\"']+@"), rf"\1{MASK}@"),
    _KEY_LOOK,
)


def masked_headers(headers: Headers) -> Headers:
    """The headers, those that carry a secret without it."""
    return tuple((name, _masked(name, value)) for name, value in headers)


def is_secret_name(name: str) -> bool:
    """Whether a header of this name carries a secret."""
    lowered = name.lower()
    return lowered in _SECRET_NAMES or any(part in lowered for part in _SECRET_PARTS)


def without_keys(text: str) -> str:
    """The text without what looks like a key of a known service, or one of ours."""
    pattern, replacement = _KEY_LOOK
    return pattern.sub(replacement, text)


class Mask:
    """Everything that a logged text goes through."""

    def __init__(self, scrubber: Scrubber | None = None) -> None:
        self._scrubber = scrubber

    def hide(self, text: str) -> str:
        """The text without known secrets and without what looks like one."""
        if self._scrubber is not None:
            text = self._scrubber.scrub(text)
        if _may_hold_secret(text.lower()):
            for pattern, replacement in _LOOKS:
                text = pattern.sub(replacement, text)
        return text


def _may_hold_secret(lowered: str) -> bool:
    """Whether the looks are worth trying: what every one of them needs. Most texts of a log pass by here."""
    return (
        "authorization" in lowered
        or "bearer" in lowered
        or "api-key" in lowered
        or any(word in lowered for word in ('key"', 'secret"', 'password"', 'token"'))
        or ("=" in lowered and ("?" in lowered or "&" in lowered))
        or 0 <= lowered.find("://") < lowered.rfind("@")
        or any(word in lowered for word in ("sk-", "gsk_", "aiza", "xai-", "hf_"))
    )


def _masked(name: str, value: str) -> str:
    if not is_secret_name(name):
        return value
    scheme, space, _ = value.partition(" ")
    return f"{scheme} {MASK}" if space and scheme.lower() in _SCHEMES else MASK
