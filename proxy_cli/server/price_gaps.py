"""A word at start where budgets cannot count everything: some key, user or team has one, some model has no price."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, String, cast, literal, or_, select

from proxy_cli.prices import unpriced
from proxy_cli.shapes import Deployment
from proxy_cli.store import tables
from proxy_cli.store.base import Store
from proxy_cli.store.failures import StoreUnavailable

_HOLDERS: Final = (
    tables.KEYS,
    tables.USERS,
    tables.TEAMS,
    tables.MEMBERS,
    tables.ORGANIZATIONS,
    tables.END_USERS,
    tables.TAGS,
    tables.BUDGETS,
)
# In the fields as JSON; the first is also the end of model_max_budget and the beginning of max_budget_in_team.
_WRITTEN: Final = ("%max_budget%", "%budget_limits%")


def has_budgets(connection: Connection) -> bool:
    """Whether anybody has a budget."""
    for table in _HOLDERS:
        fields = cast(table.c.fields, String)
        found = select(literal(1)).select_from(table).where(or_(*map(fields.like, _WRITTEN))).limit(1)
        if connection.execute(found).first() is not None:
            return True
    return False


async def gaps(store: Store, deployments: Sequence[Deployment]) -> tuple[str, ...]:
    """What is to be said: nothing, or one sentence; nothing as well where the store does not answer."""
    names = unpriced.names(each for each in deployments if not each.refusal)
    if not names:
        return ()
    try:
        budgeted = await store.read(has_budgets)
    except StoreUnavailable:
        return ()
    return unpriced.warning(names, "budgets do") if budgeted else ()
