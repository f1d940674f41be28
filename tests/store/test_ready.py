"""The store at a start: what is served with, what is said, and when serving must not begin."""

import sqlite3
from dataclasses import replace

import pytest

from proxy_cli.store.failures import StoreProblem
from proxy_cli.store.ready import make_ready
from proxy_cli.store.settings import StoreSettings, settings_of


@pytest.fixture
def unwritable(tmp_path):
    """Settings whose folder cannot be made."""
    (tmp_path / "file").write_text("")
    return StoreSettings(path=tmp_path / "file" / "llmproxy.db", is_explicit=False)


@pytest.fixture
def absent(tmp_path):
    """Settings of a server that is not there."""
    return settings_of("postgresql://u:geheim@127.0.0.1:1/d", {}, tmp_path)


def test_a_new_database_is_said_once(tmp_path):
    """Never silently a new, empty one."""
    settings = StoreSettings(path=tmp_path / "a.db")

    first, second = make_ready(settings), make_ready(settings)

    assert first.tells == (f"a new database was made: {tmp_path}/a.db",)
    assert first.settings == second.settings == settings
    assert (first.says, second.says, second.tells) == ((), (), ())


def test_where_the_usual_place_cannot_be_written_nothing_is_kept(unwritable):
    """A root that can only be read, a user without a home: serving goes on, and says what is missing."""
    ready = make_ready(unwritable)

    assert ready.settings is None
    assert len(ready.says) == 1
    assert "no keys can be made" in ready.says[0]


def test_a_place_that_somebody_has_named_must_be_there(unwritable):
    """Unless they said that it need not be; and the usual place must be where they said so."""
    with pytest.raises(StoreProblem):
        make_ready(replace(unwritable, is_explicit=True))
    with pytest.raises(StoreProblem):
        make_ready(unwritable, is_required=True)

    assert make_ready(replace(unwritable, is_explicit=True), is_required=False).settings is None


@pytest.mark.row("C-52")
def test_a_server_that_is_not_there_is_waited_for_where_it_is_not_required(absent):
    """`require_db: false`: the store is opened, and answers once the server does."""
    with pytest.raises(StoreProblem, match="nothing listens there"):
        make_ready(absent)

    ready = make_ready(absent, is_required=False)

    assert ready.settings == absent
    assert "geheim" not in ready.says[0]


@pytest.mark.row("D-03")
@pytest.mark.parametrize("is_required", [None, False])
def test_a_database_that_was_lost_is_never_passed_over(tmp_path, is_required):
    """Its keys would all be refused, and its budgets forgotten."""
    settings = StoreSettings(path=tmp_path / "a.db", is_explicit=False)
    make_ready(settings)
    (tmp_path / "a.db").unlink()

    with pytest.raises(StoreProblem, match="there has been one before"):
        make_ready(settings, is_required=is_required)


def test_litellms_tables_are_said(tmp_path):
    """Whoever comes from there learns that its keys are not known here."""
    sqlite3.connect(tmp_path / "a.db").execute('CREATE TABLE "LiteLLM_VerificationToken" (token)').connection.close()

    assert any("LiteLLM's own tables" in line for line in make_ready(StoreSettings(path=tmp_path / "a.db")).tells)


def test_parameters_that_do_nothing_are_said(postgres, tmp_path):
    """Managed services write some that the driver has no use for."""
    assert postgres.postgres is not None
    address = replace(postgres.postgres, unused=("channel_binding",))

    assert make_ready(replace(postgres, postgres=address)).says == (
        "the database's address has parameters that do nothing here: channel_binding",
    )
