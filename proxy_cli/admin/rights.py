"""Who may touch what: the rules that every object's endpoints share.

Owns: membership in teams and organizations as the store has it, and the refusals. Refuses: to tell whether something
that is not the caller's exists; what is foreign is answered as what is missing. Rule: a right is read in the same
transaction in which it is used, so that a member who was removed a moment ago changes nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, select

from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Forbidden, GatewayError, NotFound
from proxy_cli.store.tables import MEMBERS, ORGANIZATION_MEMBERS

TEAM_ADMIN: Final = "admin"
ORGANIZATION_ADMIN: Final = "org_admin"
_LONGEST_SHOWN: Final = 100


def changes_things(caller: Caller) -> bool:
    """Whether it may change anything at all, be it its own."""
    return caller.role in {Role.ADMIN, Role.USER}


def require_change(caller: Caller) -> None:
    """Refuse those who only look."""
    if not changes_things(caller):
        raise Forbidden(f"the role {caller.role.value} looks at things and changes none; ask a proxy_admin")


def require_admin(caller: Caller, what: str) -> None:
    """Refuse all but the proxy's admins. `what` completes "only a proxy_admin may ..."."""
    if not caller.is_admin:
        raise Forbidden(f"only a proxy_admin may {what}; the role of this key is {caller.role.value}")


def team_role(connection: Connection, user_id: str, team_id: str) -> str | None:
    """What a user is in a team: `admin`, `user`, or None."""
    if not user_id or not team_id:
        return None
    query = select(MEMBERS.c.role).where(MEMBERS.c.team_id == team_id, MEMBERS.c.user_id == user_id)
    return connection.execute(query).scalar_one_or_none()


def teams_of(connection: Connection, user_id: str, *, as_admin: bool = False) -> list[str]:
    """The ids of a user's teams; `as_admin`: of those in his hands."""
    if not user_id:
        return []
    query = select(MEMBERS.c.team_id).where(MEMBERS.c.user_id == user_id).order_by(MEMBERS.c.team_id)
    if as_admin:
        query = query.where(MEMBERS.c.role == TEAM_ADMIN)
    return list(connection.execute(query).scalars())


def organization_role(connection: Connection, user_id: str, organization_id: str) -> str | None:
    """What a user is in an organization, or None."""
    if not user_id or not organization_id:
        return None
    table = ORGANIZATION_MEMBERS
    query = select(table.c.role).where(table.c.organization_id == organization_id, table.c.user_id == user_id)
    return connection.execute(query).scalar_one_or_none()


def is_organization_admin(connection: Connection, caller: Caller, organization_id: str) -> bool:
    """Whether an organization is in the caller's hands."""
    return caller.is_admin or organization_role(connection, caller.user_id, organization_id) == ORGANIZATION_ADMIN


def organizations_of(connection: Connection, user_id: str, *, as_admin: bool = False) -> list[str]:
    """The ids of a user's organizations; `as_admin`: of those in his hands."""
    if not user_id:
        return []
    table = ORGANIZATION_MEMBERS
    query = select(table.c.organization_id).where(table.c.user_id == user_id).order_by(table.c.organization_id)
    if as_admin:
        query = query.where(table.c.role == ORGANIZATION_ADMIN)
    return list(connection.execute(query).scalars())


def owns_key(connection: Connection, caller: Caller, key: Mapping[str, Any]) -> bool:
    """Whether a caller may change a key: an admin, its user, or an admin of its team or of that organization."""
    if caller.is_admin:
        return True
    if not changes_things(caller):
        return False
    if caller.user_id and key["user_id"] == caller.user_id:
        return True
    if key["team_id"] and team_role(connection, caller.user_id, key["team_id"]) == TEAM_ADMIN:
        return True
    organization = key["organization_id"]
    return bool(organization) and (organization_role(connection, caller.user_id, organization) == ORGANIZATION_ADMIN)


def sees_key(connection: Connection, caller: Caller, key: Mapping[str, Any]) -> bool:
    """Whether a caller may look at a key: who may change it, who sees all, its team's members, and the key itself."""
    if caller.sees_all or (caller.key and key["digest"] == caller.key):
        return True
    if caller.user_id and key["user_id"] == caller.user_id:
        return True
    if key["team_id"] and team_role(connection, caller.user_id, key["team_id"]) is not None:
        return True
    return owns_key(connection, caller, key)


def missing(what: str, name: str) -> NotFound:
    """The answer for what is not there, and for what is somebody else's."""
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"
    return NotFound(
        f"there is no {what} {shown!r} here, or it is not yours", code=f"{what.replace(' ', '_')}_not_found"
    )


def not_theirs(caller: Caller, what: str, name: str) -> GatewayError:
    """The same for what LiteLLM answers with 403: whoever does not see all is not told whether it exists."""
    if caller.sees_all:
        return missing(what, name)
    return Forbidden(f"this {what} is not yours, or does not exist; a proxy_admin, or its team's admin, may ask for it")


def refuse_fields(caller: Caller, changes: Iterable[str], reserved: Iterable[str], what: str) -> None:
    """Refuse fields that only a proxy_admin sets."""
    if caller.is_admin:
        return
    if found := sorted(set(changes) & set(reserved)):
        raise Forbidden(f"only a proxy_admin sets {', '.join(found)} of {what}; leave it out")
