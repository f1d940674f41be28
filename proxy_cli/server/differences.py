"""What differs between the body that came and the one that would be sent, field by field, and the headers beside it.

Refuses: to show a whole body, which may be large and is the caller's business; values are shortened, and credentials
are not shown at all.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from proxy_cli.providers.headers import is_credential
from proxy_cli.shapes import BodySource, Call, Deployment, Headers, Json
from proxy_cli.telemetry.masking import MASK, masked_headers
from proxy_cli.wire.splice import Spliced, encode, object_fields

_LONGEST: Final = 120  # characters of a value
_FORM: Final = "a form passes through as it comes: only its part `model` is rewritten"


def differences(call: Call, deployment: Deployment, sent: bytes | BodySource) -> Json:
    """The fields that are added, changed and removed on the way to a deployment."""
    if not isinstance(call.body, bytes):
        return _of_form(call, deployment)
    body = sent.whole() if isinstance(sent, Spliced) else sent
    assert isinstance(body, bytes), "a body that has come as bytes leaves as bytes, or as pieces of them"
    return {
        "received_bytes": len(call.body),
        "sent_bytes": len(body),
        "changes": list(_changes(call.fields, object_fields(body) or {})),
    }


def shown_headers(headers: Headers) -> Mapping[str, str]:
    """The headers by name, credentials without what opens something."""
    return {name: _masked(name, before, shown) for (name, before), (_, shown) in _beside(headers)}


def shortened(raw: bytes) -> str:
    """A JSON value as it is shown: its beginning, and how long it is."""
    text = raw.decode("utf-8", "replace")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(raw)} bytes)"


def _changes(received: Mapping[str, msgspec.Raw], sent: Mapping[str, msgspec.Raw]) -> Iterator[Json]:
    """In the order of the body that is sent; what is left out, last."""
    for name, value in sent.items():
        before = received.get(name)
        if before is None:
            yield {"field": name, "change": "added", "before": None, "after": shortened(bytes(value))}
        elif bytes(before) != bytes(value):
            yield {
                "field": name,
                "change": "changed",
                "before": shortened(bytes(before)),
                "after": shortened(bytes(value)),
            }
    for name, value in received.items():
        if name not in sent:
            yield {"field": name, "change": "removed", "before": shortened(bytes(value)), "after": None}


def _of_form(call: Call, deployment: Deployment) -> Json:
    model = {
        "field": "model",
        "change": "changed",
        "before": shortened(encode(call.model)),
        "after": shortened(encode(deployment.model)),
    }
    return {"received_bytes": None, "sent_bytes": None, "changes": [model], "note": _FORM}


def _beside(headers: Headers) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Each header, and the same as logs show it."""
    return zip(headers, masked_headers(headers), strict=True)


def _masked(name: str, before: str, shown: str) -> str:
    """As logs show it; a name that may be a credential's is one here."""
    return MASK if shown == before and is_credential(name) else shown
