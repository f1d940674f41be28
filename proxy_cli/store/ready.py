"""The store at a start: made ready before anything is served, or why it is not, and whether serving goes on without.

A database that somebody has named must be there, unless they said that it need not be. Without one the usual place is
tried, and where nothing can be written there, nothing is kept. What is there and cannot be used, or has been lost, is
never passed over: its keys would all be refused, and its budgets forgotten.
"""

from dataclasses import dataclass
from typing import Final

from proxy_cli.store.failures import NoPlace, NotThere, StoreProblem
from proxy_cli.store.schema import Migrated, migrate
from proxy_cli.store.settings import StoreSettings

_BESIDE: Final = "LiteLLM's own tables are in the database {}: they are left alone, and keys in them are not known here"


@dataclass(frozen=True, slots=True)
class Ready:
    """What to serve with: the settings of the store to open, None for none; and what is to be said once.

    `says` are warnings, `tells` is news.
    """

    settings: StoreSettings | None
    says: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()


def make_ready(settings: StoreSettings, *, is_required: bool | None = None, may_change: bool = True) -> Ready:
    """Bring the store up to date, before a fork. Raises StoreProblem where serving must not begin without it.

    `is_required` is what `require_db` says; None: it is where somebody has named the database.
    """
    try:
        migrated = migrate(settings, may_change=may_change)
        return Ready(settings, _warnings(settings), _news(migrated, settings))
    except StoreProblem as problem:
        if not _may_go_on(problem, settings, is_required=is_required):
            raise
        if isinstance(problem, NotThere):
            return Ready(settings, (f"{problem}; until then only what needs no database is answered",))
        return Ready(None, (f"{problem}; until then no keys can be made, and spend is forgotten at the end",))


def _may_go_on(problem: StoreProblem, settings: StoreSettings, *, is_required: bool | None) -> bool:
    if is_required is not None:
        return not is_required and isinstance(problem, NoPlace | NotThere)
    return not settings.is_explicit and isinstance(problem, NoPlace)


def _news(migrated: Migrated, settings: StoreSettings) -> tuple[str, ...]:
    tells = []
    if not migrated.before:
        tells.append(f"a new database was made: {settings.shown}")
    elif migrated.has_changed:
        tells.append(f"the database {settings.shown} was upgraded from version {migrated.before} to {migrated.after}")
    if migrated.beside_litellm:
        tells.append(_BESIDE.format(settings.shown))
    return tuple(tells)


def _warnings(settings: StoreSettings) -> tuple[str, ...]:
    if settings.postgres is None or not settings.postgres.unused:
        return ()
    return (f"the database's address has parameters that do nothing here: {', '.join(settings.postgres.unused)}",)
