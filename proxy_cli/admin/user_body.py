"""The bodies of requests about users.

Owns: the fields that a user may have, and how a password is kept: not at all, but for what it hashes to. Refuses: to
know users that are there.
"""

import hashlib
import secrets
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from proxy_cli.admin.base import LONGEST_ID, Count, Counts, Flag, Id, Map, Names, Text, Usd

UserRole = Literal["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"]
_SALT_BYTES: Final = 16
_COST: Final = 2**14  # some 16 MiB and 50 ms for each try


class TeamPlace(msgspec.Struct, kw_only=True):
    """A team that a user is put into, and what he may do there."""

    team_id: Annotated[str, Meta(max_length=LONGEST_ID)]
    max_budget_in_team: Usd = UNSET
    user_role: Literal["admin", "user"] = "user"


class UserFields(msgspec.Struct, kw_only=True):
    """Who a user is, and what he may; null takes a limit away."""

    user_email: Id = UNSET
    user_alias: Id = UNSET
    user_role: UserRole | UnsetType | None = UNSET
    sso_user_id: Id = UNSET
    budget_id: Id = UNSET
    models: Names = UNSET
    max_budget: Usd = UNSET
    soft_budget: Usd = UNSET
    budget_duration: Text = UNSET
    model_max_budget: Map = UNSET
    spend: Usd = UNSET
    tpm_limit: Count = UNSET
    rpm_limit: Count = UNSET
    max_parallel_requests: Count = UNSET
    model_tpm_limit: Counts = UNSET
    model_rpm_limit: Counts = UNSET
    metadata: Map = UNSET
    # Kept and given back, but for the password, which is hashed and shown to nobody; see INERT.
    password: Text = UNSET
    permissions: Map = UNSET
    config: Map = UNSET
    guardrails: Names = UNSET
    policies: Names = UNSET
    prompts: Names = UNSET
    object_permission: Map = UNSET
    allowed_cache_controls: list[Any] | UnsetType | None = UNSET
    send_invite_email: Flag = UNSET


INERT: Final = frozenset(UserFields.__struct_fields__[UserFields.__struct_fields__.index("password") :])
# What has a column of its own, stands elsewhere, or is not kept.
ASIDE: Final = frozenset(
    {"user_id", "user_email", "user_alias", "user_role", "sso_user_id", "budget_id", "spend", "send_invite_email"}
)


class NewUser(UserFields, kw_only=True):
    """A user to be made, and the key that he gets with it."""

    user_id: Id = UNSET
    teams: list[str | TeamPlace] | UnsetType | None = UNSET
    organizations: Names = UNSET
    organization_id: Id = UNSET
    auto_create_key: Flag = UNSET
    key_alias: Id = UNSET
    duration: Text = UNSET
    aliases: dict[str, str] | UnsetType | None = UNSET
    team_id: Id = UNSET


class UserChange(UserFields, kw_only=True):
    """What is to be different about a user, who is named by id or by address."""

    user_id: Id = UNSET


class UserChanges(msgspec.Struct, kw_only=True):
    """Changes to many users."""

    users: Annotated[list[UserChange], Meta(max_length=500)]


class UserNames(msgspec.Struct, kw_only=True):
    """Which users are meant."""

    user_ids: Annotated[list[str], Meta(max_length=1000)]


def hashed(password: str) -> str:
    """What is kept of a password; it cannot be turned back, and two of one password differ."""
    salt = secrets.token_bytes(_SALT_BYTES)
    made = hashlib.scrypt(password.encode("utf-8", "surrogateescape"), salt=salt, n=_COST, r=8, p=1)
    return f"scrypt${_COST}${salt.hex()}${made.hex()}"


def is_password(password: str, kept: str) -> bool:
    """Whether this is the password of which that was kept."""
    name, _, rest = kept.partition("$")
    cost, _, rest = rest.partition("$")
    salt, _, digest = rest.partition("$")
    if name != "scrypt":
        return False
    made = hashlib.scrypt(password.encode("utf-8", "surrogateescape"), salt=bytes.fromhex(salt), n=int(cost), r=8, p=1)
    return secrets.compare_digest(made, bytes.fromhex(digest))
