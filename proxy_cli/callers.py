"""Who is calling, and what is counted and limited for them: values that are made once for a key and then shared.

A `Caller` is found at the counter (`access/`) and goes with the call to its end. Nothing in it is secret: keys are
there as digests and hints.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


# What a cost is added to: kind and id of a scope, and the beginning of its window in unix seconds.
Charge = tuple[str, str, int]


class Role(StrEnum):
    """What a caller may do beside asking models; LiteLLM's names."""

    ADMIN = "proxy_admin"
    VIEWER = "proxy_admin_viewer"  # sees all, changes nothing, asks no model
    USER = "internal_user"  # own keys, own spend
    USER_VIEWER = "internal_user_viewer"  # sees own keys and spend, changes nothing
    CUSTOMER = "customer"


class Period(msgspec.Struct, frozen=True):
    """How long a budget lasts, as written (`30d`, `1mo`), and in which time zone its windows begin."""

    text: str
    zone: str = "UTC"


class Scope(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """Something whose use is counted, and limited where a limit is set. `kind` and `id` name it in the store, too."""

    kind: str  # proxy, key, key_window, key_model, user, team, team_member, organization, end_user, tag, ...
    id: str
    name: str = ""  # as people call it, in messages: an alias, or an id; never a secret
    rpm: int | None = None
    tpm: int | None = None
    max_parallel: int | None = None
    max_nano: int | None = None  # budget of one period
    soft_nano: int | None = None
    period: Period | None = None  # None: for ever

    @property
    def is_limited(self) -> bool:
        """Whether anything can be refused because of it."""
        return not (self.rpm is None and self.tpm is None and self.max_parallel is None and self.max_nano is None)


class Bounds(msgspec.Struct, frozen=True):
    """Where calls for an end user may go, and whom they ask where what they name is not there."""

    region: str
    default_model: str = ""


# The end user's name, what is counted for what a call names, and where it may go.
Extra = tuple[str, tuple[Scope, ...], Bounds | None]


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever sent a request, as the key tells."""

    role: Role
    hint: str = ""  # of the key, for logs: sk-…7890
    key: str = ""  # SHA-256 of the key in hex; empty for the master key and where none is needed
    key_alias: str = ""
    user_id: str = ""
    team_id: str = ""
    team_alias: str = ""
    organization_id: str = ""
    # Which names may be asked for: each of these sets must allow it (key, team, user, organization). An empty tuple of
    # sets allows all; `*` in a set allows all; `openai/*` a prefix; other words are names or access groups.
    models: tuple[frozenset[str], ...] = ()
    aliases: Mapping[str, str] = msgspec.field(default_factory=_nothing)  # name asked for -> name meant
    allowed_routes: tuple[str, ...] = ()  # none: all that the role may
    scopes: tuple[Scope, ...] = ()  # counted for every call, the narrowest first
    model_scopes: Mapping[str, tuple[Scope, ...]] = msgspec.field(default_factory=_nothing)  # by name asked for
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = msgspec.field(default_factory=_nothing)
    expires_s: float | None = None  # unix time
    priority: int | None = None  # in queues for full deployments
    weight: float = 1.0  # likewise: its part of a fair share

    @property
    def is_admin(self) -> bool:
        """Whether it may see and change all."""
        return self.role is Role.ADMIN

    @property
    def sees_all(self) -> bool:
        """Whether it may read everything."""
        return self.role in {Role.ADMIN, Role.VIEWER}


ANYONE: Final = Caller(role=Role.ADMIN)  # where no key is configured
