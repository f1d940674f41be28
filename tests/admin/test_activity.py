"""What each day has cost, with its models, providers and keys."""

import pytest
from sqlalchemy import insert

from proxy_cli.admin import activity
from proxy_cli.store.tables import KEYS, MEMBERS, TEAMS
from tests.fakes.spending import ADMIN, ALICE, BOB, ask, day, keep, office_of, tagged
from tests.fakes.store import fresh_store


@pytest.fixture
async def store(tmp_path):
    opened = fresh_store(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def office(store):
    """Two days of Alice's, with two models on the second; one of Bob's, in a team."""
    await keep(
        store,
        days=[
            day("2026-11-20", failed=1, nano=0),
            day(cached_tokens=4),
            day(model="llama", model_group="local", provider="hosted_vllm", nano=500_000_000),
            day(key=BOB.key, user_id="bob", team_id="red", end_user="customer", organization_id="acme"),
        ],
        tags=[tagged("blue", prompt_tokens=10, completion_tokens=5)],
    )
    await store.write(
        lambda connection: (
            connection.execute(insert(TEAMS).values(team_id="red", alias="Red")),
            connection.execute(insert(KEYS).values(digest=ALICE.key, alias="laptop")),
        )
    )
    return office_of(store)


async def asked(office, of="user", caller=ADMIN, **query):
    return await ask(office, activity.ENDPOINTS, f"/{of}/daily/activity", caller, **query)


async def test_a_day_has_its_sums_and_their_breakdown(office):
    """LiteLLM's fields: metrics of the day, and of each model, name, provider and key."""
    found = await asked(office, caller=ALICE)

    newest, oldest = found["results"]
    assert (newest["date"], oldest["date"]) == ("2026-11-22", "2026-11-20")
    assert newest["metrics"] == {
        "spend": 1.5,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 0,
        "total_tokens": 30,
        "successful_requests": 2,
        "failed_requests": 0,
        "api_requests": 2,
    }
    assert oldest["metrics"]["failed_requests"] == 1
    breakdown = newest["breakdown"]
    assert set(breakdown["models"]) == {"gpt-4o", "llama"}
    assert set(breakdown["model_groups"]) == {"chat", "local"}
    assert breakdown["providers"]["hosted_vllm"]["metrics"]["spend"] == 0.5
    assert breakdown["api_keys"][ALICE.key]["metrics"]["spend"] == 1.5
    assert breakdown["api_keys"][ALICE.key]["metadata"] == {"key_alias": "laptop", "team_id": None}
    assert breakdown["models"]["llama"]["api_key_breakdown"][ALICE.key]["metrics"]["api_requests"] == 1


async def test_a_caller_sees_the_own_days_and_an_admin_those_of_all_or_of_one(office):
    """Somebody else's are as if there were none."""
    assert (await asked(office, caller=ALICE))["metadata"]["total_spend"] == 1.5
    assert (await asked(office))["metadata"]["total_spend"] == 2.5
    assert (await asked(office, user_id="bob"))["metadata"]["total_spend"] == 1.0
    assert (await asked(office, caller=ALICE, user_id="bob"))["results"] == []


@pytest.mark.parametrize(
    ("query", "usd"),
    [
        ({"model": "llama"}, 0.5),
        ({"api_key": BOB.key}, 1.0),
        ({"start_date": "2026-11-20", "end_date": "2026-11-21"}, 0.0),
        ({"start_date": "2026-11-22", "end_date": "2026-11-22"}, 2.5),
    ],
)
async def test_days_are_narrowed_by_what_is_named(office, query, usd):
    """Model, key and dates."""
    assert (await asked(office, **query))["metadata"]["total_spend"] == usd


async def test_pages_hold_whole_days_and_their_own_totals(office):
    """Whoever adds up the pages counts nothing twice."""
    first, second = await asked(office, page_size="1"), await asked(office, page_size="1", page="2")

    assert [each["date"] for each in (*first["results"], *second["results"])] == ["2026-11-22", "2026-11-20"]
    assert (first["metadata"]["total_spend"], second["metadata"]["total_spend"]) == (2.5, 0.0)
    assert (first["metadata"]["total_pages"], first["metadata"]["has_more"]) == (2, True)
    assert second["metadata"]["has_more"] is False


async def test_without_pages_all_days_come_at_once(office):
    """`aggregated`, whatever the size of a page."""
    found = await ask(office, activity.ENDPOINTS, "/user/daily/activity/aggregated", page_size="1")

    assert len(found["results"]) == 2
    assert found["metadata"]["total_pages"] == 1


async def test_no_days_are_an_empty_page(office):
    """With totals that are nothing."""
    found = await asked(office, start_date="2020-01-01", end_date="2020-01-02")

    assert found["results"] == []
    assert found["metadata"]["total_spend"] == 0
    assert found["metadata"]["total_pages"] == 1


async def test_teams_are_told_apart_by_whoever_sees_them(office):
    """The admin all of them, its own admin the team, and a member nothing but the own calls."""
    await office.store.write(
        lambda connection: connection.execute(insert(MEMBERS).values(team_id="red", user_id="alice", role="admin"))
    )

    for caller in (ADMIN, ALICE):
        entities = (await asked(office, "team", caller=caller))["results"][0]["breakdown"]["entities"]
        assert entities["red"]["metrics"]["spend"] == 1.0
        assert entities["red"]["metadata"] == {"team_alias": "Red"}
    assert (await asked(office, "team", team_ids="blue"))["results"] == []
    assert (await asked(office, "team", exclude_team_ids="red"))["results"] == []


async def test_a_team_admins_own_days_are_without_the_teams(office):
    """Leading a team does not make its calls one's own."""
    await office.store.write(
        lambda connection: connection.execute(insert(MEMBERS).values(team_id="red", user_id="alice", role="admin"))
    )

    assert (await asked(office, caller=ALICE))["metadata"]["total_spend"] == 1.5


@pytest.mark.parametrize(
    ("of", "name", "value"),
    [
        ("customer", "end_user_ids", "customer"),
        ("end_user", "end_user_ids", "customer"),
        ("organization", "organization_ids", "acme"),
        ("tag", "tags", "blue"),
    ],
)
async def test_others_are_told_apart_in_the_same_way(office, of, name, value):
    """End users, organizations and tags; who is not named is left out."""
    found = await asked(office, of, **{name: value})

    assert found["results"][0]["breakdown"]["entities"][value]["metrics"]["spend"] == 1.0
    assert (await asked(office, of, **{name: "nobody"}))["results"] == []
