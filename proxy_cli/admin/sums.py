"""What has been spent in the present windows, as the ledger has summed it up; and the corrections of an admin.

Owns: the way from a period as people write it to the window it is in now. Refuses: floating point; sums are whole
nano-dollars until they are shown. Rule: a correction is a row of its own beside those of the servers, so that what they
count goes on from there and nothing that was counted is overwritten.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from proxy_cli.access.periods import parse_period, window_of
from proxy_cli.admin.base import Office
from proxy_cli.store.tables import SPEND
from proxy_cli.store.writing import upsert

ADJUSTMENT: Final = "adjustment"
Total = tuple[str, str, int]  # kind and id of a scope, and the beginning of a window
_AT_ONCE: Final = 100


def window(office: Office, period: object) -> int:
    """When the present window of a period began, in unix seconds; 0 where there is no period."""
    return _edges(office, period)[0]


def reset_at_us(office: Office, period: object) -> int | None:
    """When the present window of a period ends; None where there is no period."""
    return _edges(office, period)[1] * 1_000_000 or None


def _edges(office: Office, period: object) -> tuple[int, int]:
    if not isinstance(period, str) or not period:
        return 0, 0
    zone = office.config.litellm_settings.timezone or "UTC"
    try:
        return window_of(parse_period(period, zone), office.wall())
    except ValueError:  # of a row that another version wrote
        return 0, 0


def spent(connection: Connection, totals: Iterable[Total]) -> dict[Total, int]:
    """The nano-dollars of each of these windows; what is missing is 0."""
    wanted = sorted(set(totals))
    found: dict[Total, int] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        query = (
            select(SPEND.c.kind, SPEND.c.id, SPEND.c.window, func.sum(SPEND.c.nano))
            .where(or_(*(_is(each) for each in wanted[start : start + _AT_ONCE])))
            .group_by(SPEND.c.kind, SPEND.c.id, SPEND.c.window)
        )
        for kind, name, begin_s, nano in connection.execute(query):
            found[kind, name, begin_s] = max(0, int(nano))
    return found


def set_spent(connection: Connection, total: Total, nano: int) -> None:
    """Have a window stand at this much from now on; what servers add later comes on top."""
    others = connection.execute(
        select(func.coalesce(func.sum(SPEND.c.nano), 0)).where(_is(total), SPEND.c.node != ADJUSTMENT)
    ).scalar_one()
    kind, name, begin_s = total
    values = {"kind": kind, "id": name, "window": begin_s, "node": ADJUSTMENT, "nano": nano - int(others)}
    row = upsert(SPEND).values(**values)
    keys = ["kind", "id", "window", "node"]
    connection.execute(row.on_conflict_do_update(index_elements=keys, set_={"nano": row.excluded.nano}))


def hand_on(connection: Connection, former: str, later: str) -> None:
    """Have a key that takes another's place begin where that one stood, in all of its windows."""
    kinds = ("key", "key_window", "key_model")
    table = SPEND
    belongs = or_(table.c.id == former, table.c.id.like(f"{former}/%"))  # a digest: nothing in it to be escaped
    query = (
        select(table.c.kind, table.c.id, table.c.window, func.sum(table.c.nano))
        .where(table.c.kind.in_(kinds), belongs)
        .group_by(table.c.kind, table.c.id, table.c.window)
    )
    for kind, name, begin_s, nano in connection.execute(query).all():
        set_spent(connection, (kind, later + name[len(former) :], begin_s), int(nano))


def _is(total: Total) -> Any:
    kind, name, begin_s = total
    return and_(SPEND.c.kind == kind, SPEND.c.id == name, SPEND.c.window == begin_s)


def period_of(fields: Mapping[str, Any], budget: Mapping[str, Any] | None) -> object:
    """How long an object's budget lasts: by its own word, else by that of the budget it stands on."""
    own = fields.get("budget_duration")
    return own if own is not None else (budget or {}).get("budget_duration")
