"""One request that has reached a backend, as the ledger keeps it; and what stands in the journal of it meanwhile."""

from enum import StrEnum

import msgspec

from proxy_cli.callers import Charge
from proxy_cli.shapes import Json


class State(StrEnum):
    """What became of a request."""

    SETTLED = "settled"
    FAILED = "failed"  # the backend, or the way to it
    ABORTED = "aborted"  # the caller left, or was cut off
    UNKNOWN = "unknown"  # our process ended before it did


class Row(msgspec.Struct, array_like=True, gc=False, kw_only=True):
    """A row of the ledger; the columns of `store.tables.LEDGER` by the same names, and what it counts for.

    New fields come at the end, with a default: journals of a former version are read after an update.
    """

    request_id: str
    state: State = State.UNKNOWN
    call_type: str = ""
    call_id: str = ""
    answer_id: str = ""
    key: str = ""
    key_alias: str = ""
    user_id: str = ""
    team_id: str = ""
    organization_id: str = ""
    end_user: str = ""
    model: str = ""
    model_group: str = ""
    model_id: str = ""
    backend_model: str = ""
    provider: str = ""
    api_base: str = ""
    started_at: int = 0  # unix microseconds, as all moments
    first_byte_at: int = 0
    ended_at: int = 0
    queued_us: int = 0
    waited_us: int = 0
    attempts: int = 0
    status: int = 0
    error_code: str = ""
    error: str = ""
    stream: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0
    usage_source: str = "none"  # provider, partial, estimate, reserved, none
    cost_nano: int = 0
    reserved_nano: int = 0
    tags: tuple[str, ...] = ()
    session_id: str = ""
    client: str = ""
    metadata: dict[str, Json] = {}
    messages: str | None = None
    response: str | None = None
    charges: tuple[Charge, ...] = ()  # what the cost is added to
