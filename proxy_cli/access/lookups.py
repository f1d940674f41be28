"""What the store says of keys, end users and tags: many asked for at once, one query at a time.

Owns who waits for an answer. Keeps: however many keys are guessed, the database is asked at most fifty times a second,
and a bounded number of requests waits for it; while it does not answer, it is asked once a second.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from sqlalchemy import Column, Connection, Table, select, tuple_

from proxy_cli.access.grants import Facts, Row
from proxy_cli.clock import Clock
from proxy_cli.errors import Overloaded
from proxy_cli.store.base import Store
from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.tables import BUDGETS, END_USERS, KEYS, MEMBERS, ORGANIZATIONS, TAGS, TEAMS, USERS
from proxy_cli.tasks import Tasks

T = TypeVar("T")
Read = Callable[[Connection, Sequence[str]], Mapping[str, T]]

_APART_S: Final = 0.02
_AT_ONCE: Final = 500
_WAITING: Final = 2000
_WITHIN_S: Final = 2.0
_DOWN_S: Final = 1.0
_MOST_HOPS: Final = 8  # of a key that was regenerated again and again within its grace


class Lookups(Generic[T]):
    """One kind of thing, looked up by its id."""

    def __init__(self, store: Store, read: Read[T], *, clock: Clock, tasks: Tasks) -> None:
        self._store = store
        self._read = read
        self._clock = clock
        self._tasks = tasks
        self._waiting: dict[str, asyncio.Future[T | None]] = {}  # not asked yet
        self._asked: dict[str, asyncio.Future[T | None]] = {}
        self._is_running = False
        self._down: StoreUnavailable | None = None
        self._down_until_s = 0.0
        self.queries = 0

    async def find(self, id: str) -> T | None:  # noqa: A002 - the store's name for it
        """What the store says of it, read after this was asked; None: nothing. Raises StoreUnavailable, Overloaded."""
        if self._down is not None and self._clock() < self._down_until_s:
            raise StoreUnavailable(self._down.reason)
        future = self._waiting.get(id)
        if future is None:
            if len(self._waiting) >= _WAITING:
                raise Overloaded("too many unknown keys are being looked up; try again in a moment", retry_after_s=1.0)
            future = self._waiting[id] = asyncio.get_running_loop().create_future()
            if not self._is_running:
                self._is_running = True
                self._tasks.spawn(self._run(), "lookups")
        return await asyncio.shield(future)

    async def _run(self) -> None:
        try:
            while self._waiting:
                began_s = self._clock()
                await self._ask()
                left_s = _APART_S - (self._clock() - began_s)
                if left_s > 0:
                    await asyncio.sleep(left_s)
        finally:
            self._is_running = False
            self._fail(self._waiting, "this server is about to end")

    async def _ask(self) -> None:
        ids = list(self._waiting)[:_AT_ONCE]
        self._asked = {id_: self._waiting.pop(id_) for id_ in ids}
        self.queries += 1
        try:
            found = await self._store.read(lambda connection: self._read(connection, ids), within_s=_WITHIN_S)
        except StoreUnavailable as failure:
            self._down, self._down_until_s = failure, self._clock() + _DOWN_S
        else:
            self._down = None
            for id_, future in self._asked.items():
                if not future.done():
                    future.set_result(found.get(id_))
        finally:
            self._fail(self._asked, "it does not answer" if self._down is None else self._down.reason)

    def _fail(self, futures: dict[str, asyncio.Future[T | None]], reason: str) -> None:
        """Tell those who have no answer that there is none."""
        for future in futures.values():
            if not future.done():
                future.set_exception(StoreUnavailable(reason))
                future.exception()  # whoever asked may have left
        futures.clear()


def read_keys(connection: Connection, digests: Sequence[str]) -> dict[str, Facts]:
    """All that keys depend on, by the digests that were presented."""
    rows = _rows(connection, KEYS, KEYS.c.digest, digests)
    for _ in range(_MOST_HOPS):
        further = {row["replaced_by"] for row in rows.values() if row["replaced_by"]} - rows.keys()
        if not further:
            break
        rows.update(_rows(connection, KEYS, KEYS.c.digest, further))
    present = {digest: _latest(rows, digest) for digest in digests if digest in rows}
    return _joined(connection, present, rows)


def read_named(connection: Connection, user_id: str, team_id: str) -> Facts:
    """What a token depends on that names a user and a team."""
    nobody = {"user_id": user_id, "team_id": team_id, "organization_id": "", "budget_id": ""}
    return _without_key(_joined(connection, {"": nobody}, {"": nobody})[""])


def _without_key(facts: Facts) -> Facts:
    """The same of no key."""
    return Facts(
        user=facts.user,
        team=facts.team,
        member=facts.member,
        organization=facts.organization,
        budgets=facts.budgets,
    )


def read_customers(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[Row, Row | None]]:
    """End users and their budgets."""
    return _with_budgets(connection, _rows(connection, END_USERS, END_USERS.c.user_id, ids))


def read_tags(connection: Connection, names: Sequence[str]) -> dict[str, tuple[Row, Row | None]]:
    """Tags and their budgets."""
    return _with_budgets(connection, _rows(connection, TAGS, TAGS.c.name, names))


def read_budget(connection: Connection, budget_id: str) -> Row | None:
    """One budget."""
    return _rows(connection, BUDGETS, BUDGETS.c.budget_id, [budget_id]).get(budget_id)


def _latest(rows: Mapping[str, Row], digest: str) -> Row:
    row = rows[digest]
    for _ in range(_MOST_HOPS):
        following = rows.get(row["replaced_by"]) if row["replaced_by"] else None
        if following is None:
            break
        row = following
    return row


def _joined(connection: Connection, present: Mapping[str, Row], rows: Mapping[str, Row]) -> dict[str, Facts]:
    keys = list(present.values())
    users = _rows(connection, USERS, USERS.c.user_id, _ids(keys, "user_id"))
    teams = _rows(connection, TEAMS, TEAMS.c.team_id, _ids(keys, "team_id"))
    members = _members(connection, keys)
    owners = [*keys, *teams.values()]
    organizations = _rows(connection, ORGANIZATIONS, ORGANIZATIONS.c.organization_id, _ids(owners, "organization_id"))
    everyone = [*keys, *users.values(), *teams.values(), *members.values(), *organizations.values()]
    budgets = _rows(connection, BUDGETS, BUDGETS.c.budget_id, _ids(everyone, "budget_id"))
    found = {}
    for digest, key in present.items():
        team = teams.get(key["team_id"])
        organization_id = key["organization_id"] or (team["organization_id"] if team else "")
        found[digest] = Facts(
            key=key,
            presented=rows[digest] if rows[digest] is not key else None,
            user=users.get(key["user_id"]),
            team=team,
            member=members.get((key["team_id"], key["user_id"])),
            organization=organizations.get(organization_id),
            budgets=budgets,
        )
    return found


def _members(connection: Connection, keys: Iterable[Row]) -> dict[tuple[str, str], Row]:
    pairs = sorted({(key["team_id"], key["user_id"]) for key in keys if key["team_id"] and key["user_id"]})
    if not pairs:
        return {}
    query = select(MEMBERS).where(tuple_(MEMBERS.c.team_id, MEMBERS.c.user_id).in_(pairs))
    return {(row["team_id"], row["user_id"]): dict(row) for row in connection.execute(query).mappings()}


def _rows(connection: Connection, table: Table, column: Column[str], ids: Iterable[str]) -> dict[str, Row]:
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    found = connection.execute(select(table).where(column.in_(wanted))).mappings()
    return {row[column.name]: dict(row) for row in found}


def _ids(rows: Iterable[Row], name: str) -> set[str]:
    return {row[name] for row in rows if row[name]}


def _with_budgets(connection: Connection, rows: Mapping[str, Row]) -> dict[str, tuple[Row, Row | None]]:
    budgets = _rows(connection, BUDGETS, BUDGETS.c.budget_id, _ids(rows.values(), "budget_id"))
    return {id_: (row, budgets.get(row["budget_id"])) for id_, row in rows.items()}
