"""Budgets that cannot count everything."""

from dataclasses import replace

import pytest
from sqlalchemy import insert

from proxy_cli.server.price_gaps import gaps
from proxy_cli.store import tables
from proxy_cli.store.opening import open_store
from tests.fakes.store import fresh_store
from tests.routing.test_table import deployment

KEY = {"digest": "d" * 64, "created_at": 1, "updated_at": 1}


@pytest.fixture
async def store(tmp_path):
    opened = fresh_store(tmp_path)
    yield opened
    await opened.close()


async def put(store, **fields):
    await store.write(lambda connection: connection.execute(insert(tables.KEYS).values(**KEY, fields=fields)))


@pytest.mark.row("C-64")
@pytest.mark.parametrize(
    "fields", [{"max_budget": 5}, {"model_max_budget": {"gpt": {"budget_limit": 1}}}, {"budget_limits": []}]
)
async def test_a_budget_that_does_not_count_a_model_is_told(store, fields):
    """With the model's name and what to do."""
    await put(store, **fields)

    said = await gaps(store, [deployment("a")])

    assert len(said) == 1
    assert said[0].startswith("budgets do not count these models, whose price is not known: ")
    assert "give them input_cost_per_token" in said[0]


@pytest.mark.row("C-64")
async def test_nothing_is_told_where_all_is_counted(store):
    """No budget, no model without a price, or none that would be asked."""
    assert await gaps(store, [deployment("a")]) == ()

    await put(store, max_budget=5)

    assert await gaps(store, [replace(deployment("a"), rates={"input_cost_per_token": 0.0})]) == ()
    assert await gaps(store, [replace(deployment("a"), refusal="it has no price")]) == ()


async def test_the_same_is_asked_of_postgresql(postgres):
    """Where fields are JSON of another kind."""
    store = open_store(postgres)
    try:
        await put(store, max_budget=5)

        assert len(await gaps(store, [deployment("a")])) == 1
    finally:
        await store.close()


async def test_a_store_that_does_not_answer_keeps_nobody_from_serving(tmp_path):
    """Nothing is said then."""
    store = fresh_store(tmp_path)
    (tmp_path / "llmproxy.db").write_bytes(b"no database" * 1000)
    try:
        assert await gaps(store, [deployment("a")]) == ()
    finally:
        await store.close()
