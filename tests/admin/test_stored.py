"""Deployments that stand in the database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from proxy_cli.admin.seal import Seal, SealProblem, seal_of
from proxy_cli.admin.stored import entries_of, load, opened, rotate, sealed, stored_models
from proxy_cli.secret import Secret
from proxy_cli.store.tables import MODELS
from tests.fakes.store import fresh_store

KEY, OTHER = Secret("sk-the-salt-key"), Secret("sk-another-key")
SEAL = Seal(KEY, b"salt" * 4)
PARAMS = {"model": "openai/x", "api_base": "http://10.0.0.1:8000/v1", "api_key": "sk-canary-1", "rpm": 5}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["sealed", "a", "api_key"]), inner),
    max_leaves=8,
)


@pytest.fixture
async def store(tmp_path):
    opened_store = fresh_store(tmp_path)
    yield opened_store
    await opened_store.close()


async def keep(store, model_id="m", params=PARAMS, **columns):
    def work(connection):
        seal = seal_of(connection, KEY)
        values = {"model_name": "chat", "info": {}, **columns, "params": sealed(seal, model_id, params)}
        connection.execute(insert(MODELS).values(model_id=model_id, **values))

    await store.write(work)


@given(st.dictionaries(st.sampled_from(["model", "api_key", "extra_body", "sealed"]), JSON))
def test_parameters_come_back_as_they_were_given(params):
    """Whatever they are, also where they look like what was sealed."""
    assert opened(SEAL, "m", sealed(SEAL, "m", params)) == params


@pytest.mark.row("P-01")
def test_no_text_that_may_be_a_secret_is_kept_as_it_is():
    """Keys, headers, and fields whose names say nothing; names, addresses and numbers stay readable."""
    params = {
        **PARAMS,
        "extra_headers": {"x-team": "canary-2"},
        "extra_body": {"deep": [{"er": "canary-3"}]},
        "unheard_of": "canary-4",
    }

    kept = sealed(SEAL, "m", params)

    assert "canary" not in str(kept)
    assert (kept["model"], kept["api_base"], kept["rpm"]) == ("openai/x", "http://10.0.0.1:8000/v1", 5)


def test_a_sealed_key_is_of_its_row_alone():
    """Copied into another row, which leads elsewhere, it is not opened."""
    kept = sealed(SEAL, "m", PARAMS)

    with pytest.raises(SealProblem, match="model other api_key"):
        opened(SEAL, "other", kept)
    with pytest.raises(SealProblem, match="lost the row"):
        opened(None, "m", kept)


async def test_stored_models_are_entries_of_the_model_list(store):
    """With their keys opened, an id, and the word that the database has them; blocked ones are left out."""
    await keep(store, info={"mode": "chat"})
    await keep(store, "blocked", blocked=True)

    found = await store.read(lambda connection: load(connection, KEY))

    (entry,) = found.entries
    assert entry.model_name == "chat"
    assert entry.litellm_params.api_key == Secret("sk-canary-1")
    assert entry.model_info.id == "m"
    assert entry.model_info.public()["db_model"] is True
    assert found.problems == ()


@pytest.mark.row("A-21")
async def test_a_name_of_a_variable_is_plain_text(store):
    """Nobody reads this machine's variables by way of the database."""
    await keep(store, params={**PARAMS, "api_key": "os.environ/PATH"})

    found = await store.read(lambda connection: load(connection, KEY))

    assert found.entries[0].litellm_params.api_key == Secret("os.environ/PATH")


async def test_a_row_that_cannot_be_read_is_left_out_and_told(store):
    """One bad row stops no server, and no value of it is repeated."""
    await keep(store, "bad", params={**PARAMS, "rpm": "canary"})
    await keep(store)

    found = await store.read(lambda connection: load(connection, KEY))

    assert [each.model_info.id for each in found.entries] == ["m"]
    assert len(found.problems) == 1
    assert "bad" in found.problems[0]
    assert "litellm_params.rpm" in found.problems[0]


async def test_nothing_stored_needs_no_key(store):
    """A database without models is read without a seal."""
    assert await store.read(lambda connection: load(connection, None)) == entries_of([])


@pytest.mark.row("P-07")
async def test_another_key_is_refused_before_anything_is_opened(store):
    """With its cure."""
    await keep(store)

    with pytest.raises(SealProblem, match="LITELLM_SALT_KEY"):
        await store.read(lambda connection: load(connection, OTHER))


@pytest.mark.row("P-07")
async def test_a_rotation_seals_everything_for_the_new_key(store):
    """The former one opens nothing any more; what was kept stays what it was."""
    await keep(store)
    await keep(store, "blocked", blocked=True)

    assert await store.write(lambda connection: rotate(connection, KEY, OTHER)) == 2

    found = await store.read(lambda connection: load(connection, OTHER))
    assert found.entries[0].litellm_params.api_key == Secret("sk-canary-1")
    with pytest.raises(SealProblem):
        await store.read(lambda connection: load(connection, KEY))


async def test_a_rotation_from_a_wrong_key_changes_nothing(store):
    """It is refused as a whole."""
    await keep(store)
    before = await store.read(lambda connection: connection.execute(select(MODELS.c.params)).all())

    with pytest.raises(SealProblem):
        await store.write(lambda connection: rotate(connection, OTHER, KEY))

    assert await store.read(lambda connection: connection.execute(select(MODELS.c.params)).all()) == before


async def test_a_rotation_of_a_database_without_secrets_is_done_at_once(store):
    """There is nothing to seal."""
    assert await store.write(lambda connection: rotate(connection, KEY, OTHER)) == 0
    assert await store.read(lambda connection: stored_models(connection, None)) == []
