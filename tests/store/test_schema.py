"""Versions of the tables: one process brings them up, none goes back, and a death on the way leaves what was."""

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from proxy_cli.store.failures import NotThere, StoreProblem
from proxy_cli.store.schema import REVISIONS, migrate
from proxy_cli.store.settings import StoreSettings, settings_of

NEWEST = REVISIONS[-1]


def test_a_new_file_gets_all_tables(tmp_path):
    """It is told that it is new; the second time there is nothing to do."""
    settings = StoreSettings(path=tmp_path / "a.db")

    first, second = migrate(settings), migrate(settings)

    assert (first.before, first.after, first.is_new, first.has_changed) == ("", NEWEST, True, True)
    assert (second.before, second.is_new, second.has_changed) == (NEWEST, False, False)


def test_a_new_database_of_a_server_gets_all_tables(postgres_server, tmp_path):
    """In the schema that the address names, which is made where it is missing."""
    name = postgres_server.new(has_tables=False)
    settings = settings_of(postgres_server.url(name, "?schema=Team"), {}, tmp_path)

    first, second = migrate(settings), migrate(settings)

    assert (first.before, first.after, second.has_changed) == ("", NEWEST, False)
    found = postgres_server.sql("SELECT schemaname FROM pg_tables WHERE tablename = 'llmproxy_key'", name)
    assert found == [("Team",)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_litellms_tables_are_seen_and_left_alone(kind, tmp_path, request):
    """Its database may be ours as well."""
    table = 'CREATE TABLE "LiteLLM_VerificationToken" (token TEXT PRIMARY KEY)'
    if kind == "sqlite":
        settings = StoreSettings(path=tmp_path / "a.db")
        sqlite3.connect(tmp_path / "a.db").execute(table).connection.close()
    else:
        server = request.getfixturevalue("postgres_server")
        name = server.new(has_tables=False)
        server.sql(table, name)
        settings = settings_of(server.url(name), {}, tmp_path)

    assert migrate(settings).beside_litellm
    assert migrate(settings).beside_litellm


@pytest.mark.row("C-53")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_newer_database_is_left_alone(kind, tmp_path, request):
    """An older program does not know what it would break."""
    if kind == "sqlite":
        settings = StoreSettings(path=tmp_path / "a.db")
        migrate(settings)
        with sqlite3.connect(tmp_path / "a.db") as connection:
            connection.execute("UPDATE llmproxy_schema SET version_num = '9999'")
        connection.close()
    else:
        settings = request.getfixturevalue("postgres")
        server = request.getfixturevalue("postgres_server")
        assert settings.postgres is not None
        server.sql("UPDATE llmproxy_schema SET version_num = '9999'", settings.postgres.database)

    with pytest.raises(StoreProblem, match=f"version 9999, and this program knows none after {NEWEST}") as problem:
        migrate(settings)

    assert not isinstance(problem.value, NotThere)


def test_tables_may_be_left_alone(tmp_path):
    """Whoever wants to bring them up by hand is told the command; once they are, serving may begin."""
    settings = StoreSettings(path=tmp_path / "a.db")

    with pytest.raises(StoreProblem, match=r"version none and needs .* `llmproxy db upgrade`"):
        migrate(settings, may_change=False)

    migrate(settings)
    assert migrate(settings, may_change=False).has_changed is False


@pytest.mark.row("C-53")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_many_at_once_one_brings_the_tables_up(kind, tmp_path, request):
    """The others wait and find it done."""
    if kind == "sqlite":
        settings = StoreSettings(path=tmp_path / "a.db")
    else:
        server = request.getfixturevalue("postgres_server")
        settings = settings_of(server.url(server.new(has_tables=False)), {}, tmp_path)

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: migrate(settings), range(4)))

    assert sorted(each.has_changed for each in done) == [False, False, False, True]


KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from proxy_cli.store.schema import migrate
from proxy_cli.store.settings import settings_of

left = int(sys.argv[2])

@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, *rest):
    global left
    if statement.lstrip().startswith(("CREATE", "INSERT")):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

migrate(settings_of(sys.argv[1], {}, Path(".")))
"""


@pytest.mark.row("K-06")
@pytest.mark.parametrize("statements", [0, 7, 24])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_death_on_the_way_leaves_nothing_half_done(kind, statements, tmp_path, root, request):
    """The next start completes it."""
    url = f"sqlite:///{tmp_path}/a.db"
    if kind == "postgresql":
        server = request.getfixturevalue("postgres_server")
        url = server.url(server.new(has_tables=False))

    run = subprocess.run(
        [sys.executable, "-c", KILLED, url, str(statements)], env={**os.environ, "PYTHONPATH": str(root)}
    )

    assert run.returncode == -signal.SIGKILL
    done = migrate(settings_of(url, {}, tmp_path))
    assert (done.before, done.after) == ("", NEWEST)


@pytest.mark.row("D-03")
def test_a_damaged_file_is_told(tmp_path):
    """With its path and what to do."""
    path = tmp_path / "a.db"
    migrate(StoreSettings(path=path))
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * 3996
    path.write_bytes(data)

    with pytest.raises(StoreProblem, match=r"a\.db cannot be used: its file is damaged; put a backup in its place"):
        migrate(StoreSettings(path=path))


@pytest.mark.row("D-02")
def test_a_file_that_is_locked_is_told_in_time(tmp_path):
    """Another program in the file keeps a start from beginning, not for ever."""
    path = tmp_path / "a.db"
    migrate(StoreSettings(path=path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(StoreProblem, match="another program holds it locked; end that program"):
        migrate(StoreSettings(path=path, timeout_s=0.1))

    other.close()


@pytest.mark.row("C-52")
def test_a_server_that_lets_nobody_in_is_told_without_the_password(postgres_server, tmp_path):
    """Wrong port, wrong password, no such database: each its own words."""
    name = postgres_server.new(has_tables=False)
    good = settings_of(postgres_server.url(name), {}, tmp_path)
    assert good.postgres is not None
    wrong = {
        "nothing listens there": replace(good.postgres, port=1),
        "there is no such database": replace(good.postgres, database="nope"),
        "the password is wrong": replace(good.postgres, user="tester", password=None),
        "the name of its host is not known": replace(good.postgres, host="nowhere.invalid"),
    }

    for words, address in wrong.items():
        with pytest.raises(NotThere) as problem:
            migrate(replace(good, postgres=address))
        assert words in str(problem.value)
        assert "p@ss" not in str(problem.value)
