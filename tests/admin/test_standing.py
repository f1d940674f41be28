"""What a caller is to a team or an organization: the reviewed table of who may do what, over every endpoint."""

from dataclasses import replace
from typing import Any

import pytest

from proxy_cli.access.routes import authorize
from proxy_cli.admin.table import ENDPOINTS
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Forbidden, NotFound
from proxy_cli.server.admin_routes import routes_of
from proxy_cli.store.tables import METADATA
from tests.fakes.office import ADMIN, VIEWER, Desk

CALLERS = {
    "admin": ADMIN,
    "viewer": VIEWER,
    "chief": Caller(role=Role.USER, user_id="chief"),  # admin of the organization
    "leader": Caller(role=Role.USER, user_id="leader"),  # admin of the team
    "member": Caller(role=Role.USER, user_id="member"),
    "watcher": Caller(role=Role.USER_VIEWER, user_id="leader"),  # an admin of the team who may only look
    "team key": Caller(role=Role.USER, key="k", team_id="blue"),
    "stranger": Caller(role=Role.USER, user_id="stranger"),
}
# An endpoint and its body to what each caller gets for the object that is there; for a missing one it is 404 where this
# is 404 or 200, and the same where the caller is refused before anything is looked up.
NEW_MEMBER = {"role": "user", "user_id": "new"}
NEW_PLACE = {"role": "internal_user", "user_id": "new"}
DONE, NO, GONE = 200, 403, 404
TABLE: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    # path, body, admin, viewer, chief, leader, member, watcher, team key, stranger
    ("/team/update", {"team_id": "blue", "team_alias": "x"}, (DONE, NO, DONE, DONE, NO, NO, NO, GONE)),
    ("/team/update", {"team_id": "blue", "max_budget": 1}, (DONE, NO, DONE, NO, NO, NO, NO, GONE)),
    ("/team/update", {"team_id": "blue", "organization_id": None}, (DONE, NO, NO, NO, NO, NO, NO, GONE)),
    ("/team/block", {"team_id": "blue"}, (DONE, NO, DONE, NO, NO, NO, NO, GONE)),
    ("/team/unblock", {"team_id": "blue"}, (DONE, NO, DONE, NO, NO, NO, NO, GONE)),
    ("/team/delete", {"team_ids": ["blue"]}, (DONE, NO, DONE, NO, NO, NO, NO, GONE)),
    ("/team/model/add", {"team_id": "blue", "models": ["a"]}, (DONE, NO, DONE, NO, NO, NO, NO, GONE)),
    ("/team/model/delete", {"team_id": "blue", "models": ["a"]}, (DONE, NO, DONE, NO, NO, NO, NO, GONE)),
    ("/team/member_add", {"team_id": "blue", "member": NEW_MEMBER}, (DONE, NO, DONE, DONE, NO, NO, NO, GONE)),
    ("/team/member_update", {"team_id": "blue", "user_id": "member"}, (DONE, NO, DONE, DONE, NO, NO, NO, GONE)),
    ("/team/member_delete", {"team_id": "blue", "user_id": "member"}, (DONE, NO, DONE, DONE, NO, NO, NO, GONE)),
    ("/team/new", {}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/team/new", {"organization_id": "acme"}, (DONE, NO, DONE, NO, NO, NO, NO, NO)),
    (
        "/organization/update",
        {"organization_id": "acme", "organization_alias": "x"},
        (DONE, NO, DONE, GONE, NO, NO, GONE, GONE),
    ),
    ("/organization/update", {"organization_id": "acme", "max_budget": 1}, (DONE, NO, NO, GONE, NO, NO, GONE, GONE)),
    (
        "/organization/member_add",
        {"organization_id": "acme", "member": NEW_PLACE},
        (DONE, NO, DONE, GONE, NO, NO, GONE, GONE),
    ),
    (
        "/organization/member_update",
        {"organization_id": "acme", "user_id": "member"},
        (DONE, NO, DONE, GONE, NO, NO, GONE, GONE),
    ),
    (
        "/organization/member_delete",
        {"organization_id": "acme", "user_id": "member"},
        (DONE, NO, DONE, GONE, NO, NO, GONE, GONE),
    ),
    ("/organization/delete", {"organization_ids": ["acme"]}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/organization/new", {"organization_alias": "x"}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/organization/info", {"organizations": ["acme"]}, (DONE, DONE, DONE, DONE, DONE, DONE, DONE, DONE)),
    ("/customer/new", {"user_id": "new"}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/customer/update", {"user_id": "one"}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/end_user/block", {"user_ids": ["one"]}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/end_user/delete", {"user_ids": ["one"]}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/budget/new", {}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/budget/update", {"budget_id": "b"}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/budget/info", {"budgets": ["b"]}, (DONE, DONE, NO, NO, NO, NO, NO, NO)),
    ("/budget/delete", {"id": "b"}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/tag/new", {"name": "new"}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/tag/update", {"name": "t"}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
    ("/tag/info", {"names": ["t"]}, (DONE, DONE, NO, NO, NO, NO, NO, NO)),
    ("/tag/delete", {"name": "t"}, (DONE, NO, NO, NO, NO, NO, NO, NO)),
]
ROUTES = {(each.method, each.path_template): each for each in routes_of(ENDPOINTS)}


@pytest.fixture
async def world(desk):
    """A team in an organization, and one of everything else."""
    await desk.post("/organization/new", {"organization_id": "acme", "organization_alias": "Acme"})
    for name, role in (("chief", "org_admin"), ("member", "internal_user")):
        member = {"role": role, "user_id": name}
        await desk.post("/organization/member_add", {"organization_id": "acme", "member": member})
    members = [{"role": "admin", "user_id": "leader"}, {"role": "user", "user_id": "member"}]
    team = {"team_id": "blue", "organization_id": "acme", "models": ["a", "b"]}
    await desk.post("/team/new", {**team, "members_with_roles": members})
    await desk.post("/customer/new", {"user_id": "one"})
    await desk.post("/budget/new", {"budget_id": "b"})
    await desk.post("/tag/new", {"name": "t"})
    return desk


class Undone(Exception):
    """Takes back what has been rehearsed."""


class Rehearsal:
    """A store that does everything and keeps nothing."""

    def __init__(self, store) -> None:
        self._store = store
        self.read = store.read

    async def write(self, work):
        results = []

        def rehearsed(connection):
            results.append(work(connection))
            raise Undone

        with pytest.raises(Undone):
            await self._store.write(rehearsed)
        return results[-1]


async def status(desk, path: str, body: dict[str, Any], caller: Caller) -> int:
    """What a POST comes to, with the rules of the route and those of the object."""
    try:
        authorize(caller, ROUTES["POST", path])
        await desk.post(path, body, caller)
    except (Forbidden, NotFound) as refused:
        return refused.status
    return 200


async def everything(desk):
    """All that the store has."""

    def work(connection):
        return {table.name: connection.execute(table.select()).all() for table in METADATA.sorted_tables}

    return await desk.office.store.read(work)


@pytest.mark.row("A-16")
@pytest.mark.parametrize("row", TABLE, ids=[f"{path} {' '.join(body)}" for path, body, _ in TABLE])
async def test_each_caller_may_do_what_the_reviewed_table_says(world, row):
    """And who is refused has changed nothing."""
    path, body, statuses = row
    expected = dict(zip(CALLERS, statuses, strict=True))
    before = await everything(world)

    for name in (name for name, each in expected.items() if each != DONE):
        assert (name, await status(world, path, body, CALLERS[name])) == (name, expected[name])
    assert await everything(world) == before
    rehearsal = Desk(replace(world.office, store=Rehearsal(world.office.store)), tuple(ENDPOINTS))
    found = {name: await status(rehearsal, path, body, caller) for name, caller in CALLERS.items()}
    assert found == expected


@pytest.mark.row("A-16")
@pytest.mark.parametrize("name", list(CALLERS))
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (path, {key: "none" if value in {"blue", "acme"} else value for key, value in body.items()})
        for path, body, _ in TABLE
        if body.keys() & {"team_id", "organization_id"} and path not in {"/team/new", "/organization/new"}
        if all(isinstance(value, str | int | None) for value in body.values())
    ],
)
async def test_what_is_missing_is_missing_for_everybody_who_may_change_things(world, name, path, body):
    """Nobody learns more of it than a stranger does; those who may only look are refused before."""
    expected = NO if name in {"viewer", "watcher"} else GONE

    assert await status(world, path, body, CALLERS[name]) == expected
