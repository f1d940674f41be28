"""`/organization/member_...`: who belongs to an organization, and as what."""

import pytest
from sqlalchemy import select

from proxy_cli.admin.base import decoded
from proxy_cli.admin.places import PlaceAdd, PlaceChange
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Forbidden, InvalidRequest, NotFound, Unprocessable
from proxy_cli.store.tables import ORGANIZATION_MEMBERS, USERS

CHIEF = Caller(role=Role.USER, user_id="chief")
MEMBER = Caller(role=Role.USER, user_id="member")


@pytest.fixture
async def acme(any_desk):
    """An organization with an admin and a member."""
    await any_desk.post("/organization/new", {"organization_id": "acme", "organization_alias": "Acme"})
    members = [{"role": "org_admin", "user_id": "chief"}, {"role": "internal_user", "user_id": "member"}]
    await any_desk.post("/organization/member_add", {"organization_id": "acme", "member": members})
    return any_desk


async def places(desk):
    """Who is what in the organization."""
    query = select(ORGANIZATION_MEMBERS.c.user_id, ORGANIZATION_MEMBERS.c.role)
    return await desk.office.store.read(lambda connection: dict(tuple(row) for row in connection.execute(query)))


async def test_members_are_added_and_the_answer_records_their_places(acme):
    """A user who is not there yet is made, with his address where that is what he is called by."""
    added = await acme.post(
        "/organization/member_add",
        {"organization_id": "acme", "member": {"role": "internal_user_viewer", "user_email": "New@example.org"}},
    )

    (user,) = added["updated_users"]
    (place,) = added["updated_organization_memberships"]
    assert added["organization_id"] == place["organization_id"] == "acme"
    assert (place["user_id"], place["user_role"]) == (user["user_id"], "internal_user_viewer")
    assert user["user_email"] == place["user_email"] == "new@example.org"
    assert user["organization_memberships"][0]["organization_id"] == "acme"


async def test_who_is_in_an_organization_is_not_added_again_and_nobody_else_with_him(acme):
    """All of a request or none."""
    members = [{"role": "internal_user", "user_id": "new"}, {"role": "org_admin", "user_id": "member"}]

    with pytest.raises(InvalidRequest, match="'member' is in organization 'acme' already"):
        await acme.post("/organization/member_add", {"organization_id": "acme", "member": members})
    assert await places(acme) == {"chief": "org_admin", "member": "internal_user"}
    users = await acme.office.store.read(lambda connection: connection.execute(select(USERS.c.user_id)).scalars().all())
    assert "new" not in users


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_a_member_becomes_something_else(acme, method):
    """His right holds with the next request."""
    with pytest.raises(Forbidden):
        await acme.post("/team/new", {"organization_id": "acme"}, MEMBER)
    body = {"organization_id": "acme", "user_id": "member", "role": "org_admin"}

    assert (await acme.send(method, "/organization/member_update", body))["user_role"] == "org_admin"
    assert (await acme.post("/team/new", {"organization_id": "acme"}, MEMBER))["organization_id"] == "acme"


@pytest.mark.parametrize("method", ["DELETE", "POST"])
async def test_a_member_is_taken_out(acme, method):
    """The answer is the place that he had; a second time there is none."""
    body = {"organization_id": "acme", "user_id": "chief"}

    gone = await acme.send(method, "/organization/member_delete", body)
    assert (gone["user_id"], gone["user_role"]) == ("chief", "org_admin")
    assert await places(acme) == {"member": "internal_user"}
    with pytest.raises(InvalidRequest, match="no member"):
        await acme.send(method, "/organization/member_delete", body)
    with pytest.raises(NotFound):
        await acme.post("/organization/update", {"organization_id": "acme", "organization_alias": "x"}, CHIEF)


async def test_the_admin_of_an_organization_learns_nothing_of_the_users_he_adds(acme):
    """Only what he has named himself."""
    member = {"role": "internal_user", "user_id": "somebody"}
    told = await acme.post("/organization/member_add", {"organization_id": "acme", "member": member}, CHIEF)

    assert told["updated_users"] == [{"user_id": "somebody"}]


@pytest.mark.row("A-17")
@pytest.mark.parametrize("role", ["proxy_admin", "proxy_admin_viewer", "customer", "admin", ""])
def test_a_place_is_never_a_right_over_the_proxy(role):
    """What a member can be is one of three words."""
    member = f'{{"role": "{role}", "user_id": "x"}}'.encode()

    with pytest.raises(Unprocessable):
        decoded(b'{"organization_id": "acme", "member": ' + member + b"}", PlaceAdd)
    with pytest.raises(Unprocessable):
        decoded(f'{{"organization_id": "acme", "user_id": "x", "role": "{role}"}}'.encode(), PlaceChange)


@pytest.mark.parametrize("member", [[], {"role": "org_admin"}])
async def test_who_is_not_named_is_not_added(acme, member):
    """Nobody is somebody."""
    with pytest.raises(InvalidRequest):
        await acme.post("/organization/member_add", {"organization_id": "acme", "member": member})
