"""Secrets that the database keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from proxy_cli.admin.seal import SETTING, Seal, SealProblem, keep, known_seal, seal_key, seal_of
from proxy_cli.secret import Secret
from proxy_cli.store.tables import SETTINGS
from tests.fakes.store import fresh_store

KEY, OTHER = Secret("sk-the-salt-key"), Secret("sk-another-key")
SEAL = Seal(KEY, b"salt" * 4)


@pytest.fixture
async def store(tmp_path):
    opened = fresh_store(tmp_path)
    yield opened
    await opened.close()


@given(st.text(), st.text())
def test_a_sealed_text_is_opened_by_its_key_at_its_place(text, place):
    """What was sealed comes back letter by letter, and its own words are not in what is kept."""
    sealed = SEAL.seal(text, place)

    assert SEAL.open(sealed, place) == text
    assert len(text) < 8 or text not in sealed


def test_the_same_text_is_never_sealed_to_the_same_twice():
    """Whoever reads the database does not see which secrets are equal."""
    assert SEAL.seal("sk-secret", "a") != SEAL.seal("sk-secret", "a")


def test_a_sealed_text_is_of_its_place_alone():
    """A key that is copied into another row, or another field, is not opened there."""
    sealed = SEAL.seal("sk-secret", "model a api_key")

    with pytest.raises(SealProblem, match="model b api_key"):
        SEAL.open(sealed, "model b api_key")


@given(st.data())
def test_a_sealed_text_that_was_changed_is_refused(data):
    """No letter of it can be another one."""
    sealed = SEAL.seal("sk-secret", "a")
    at = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019+/=:"))
    changed = sealed[:at] + letter + sealed[at + 1 :]

    # The last letters of base64 hold bits that no byte takes: another letter there may stand for the same bytes.
    if changed != sealed:
        try:
            assert SEAL.open(changed, "a") == "sk-secret"
        except SealProblem:
            return
        assert at >= len(sealed.rstrip("=")) - 1


@pytest.mark.parametrize("text", ["", "1:", "1:AAAA", "2:" + "A" * 80, "sk-plain", "1:????"])
def test_what_was_never_sealed_is_refused(text):
    """A plain text in the place of a sealed one is not taken for one."""
    with pytest.raises(SealProblem, match="cannot be opened"):
        SEAL.open(text, "a")


def test_the_salt_key_comes_before_the_master_key():
    """As with LiteLLM; without either there is nothing to seal with."""
    assert seal_key(KEY, OTHER) == KEY
    assert seal_key(None, OTHER) == OTHER
    assert seal_key(None, None) is None


async def test_the_first_seal_of_a_database_is_the_one_of_all(store):
    """What one process has sealed, another one with the same key opens."""
    first = await store.write(lambda connection: seal_of(connection, KEY))

    second = await store.write(lambda connection: seal_of(connection, KEY))

    assert second.open(first.seal("sk-secret", "a"), "a") == "sk-secret"


@pytest.mark.row("P-07")
async def test_another_key_than_the_database_was_sealed_with_is_refused_with_the_cure(store):
    """Before anything is read or written, and with a word on what to do."""
    await store.write(lambda connection: seal_of(connection, KEY))

    for function in (seal_of, known_seal):
        with pytest.raises(SealProblem, match=r"LITELLM_SALT_KEY .* llmproxy db rotate"):
            await store.write(lambda connection, ask=function: ask(connection, OTHER))
        with pytest.raises(SealProblem, match="set LITELLM_SALT_KEY"):
            await store.write(lambda connection, ask=function: ask(connection, None))


async def test_a_database_without_secrets_needs_no_key(store):
    """Who has never stored a model has nothing to open."""
    assert await store.read(lambda connection: known_seal(connection, None)) is None


async def test_a_check_value_that_is_damaged_is_refused(store):
    """A row that nobody of us wrote is not taken for a seal."""
    await store.write(lambda connection: seal_of(connection, KEY))
    await store.write(lambda connection: connection.execute(SETTINGS.update().values(value={"salt": "!"})))

    with pytest.raises(SealProblem):
        await store.read(lambda connection: known_seal(connection, KEY))


async def test_a_new_seal_takes_the_place_of_the_former_one(store):
    """After it is kept, only its key opens the database."""
    await store.write(lambda connection: seal_of(connection, KEY))

    await store.write(lambda connection: keep(connection, Seal.fresh(OTHER)))

    assert await store.read(lambda connection: known_seal(connection, OTHER)) is not None
    kept = await store.read(lambda connection: connection.scalar(select(SETTINGS.c.value)))
    assert "sk-another-key" not in str(kept)
    assert SETTING == "seal"
