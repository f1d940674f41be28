"""`llmproxy db`: what is done, what is shown, and what is said where it cannot be."""

import asyncio
import json
import sqlite3

import pytest
from sqlalchemy import insert

from proxy_cli.admin.seal import seal_of
from proxy_cli.admin.stored import load
from proxy_cli.admin.stored import sealed as seal_params
from proxy_cli.secret import Secret
from proxy_cli.store.opening import open_store
from proxy_cli.store.settings import StoreSettings
from proxy_cli.store.tables import MODELS

FILE = "llmproxy.db"


@pytest.fixture
def db(command):
    """Runs `llmproxy db` with a folder for data of its own."""

    def run(*arguments, **variables):
        return command.run("db", *arguments, LLMPROXY_DATA_DIR=str(command.folder / "data"), **variables)

    return run


def test_the_usual_database_is_made_once(db, command):
    """`upgrade` makes it for its owner alone, and has nothing to do then."""
    first, second = db("upgrade"), db("upgrade")

    path = command.folder / "data" / FILE
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "there were no tables, now 0001" in first.stdout
    assert "nothing to do" in second.stdout
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_look_makes_nothing(db, command):
    """`check` of what is not there says so, and how to make it."""
    done = db("check")

    assert done.returncode == 1
    assert "`llmproxy db upgrade` makes one" in done.stderr
    assert not (command.folder / "data").exists()


def test_a_look_shows_version_and_rows(db):
    """As JSON, the figures are for programs."""
    db("upgrade")

    told = json.loads(db("check", "--json").stdout)

    assert told["ok"]
    assert told["version"] == "0001"
    assert told["rows"]["llmproxy_key"] == 0
    assert db("check").stdout.endswith("ok\n")


def test_a_look_at_an_older_database_fails(db, command):
    """The exit code says that this program could not serve with it, and the verdict what to do."""
    file = command.folder / "other.db"
    sqlite3.connect(file).execute("CREATE TABLE a (b)").connection.close()

    done = db("check", DATABASE_URL=str(file))

    assert done.returncode == 1
    assert "run `llmproxy db upgrade`" in done.stdout


def test_the_file_says_which_database_it_is(db, command):
    """`general_settings.database_url`, also one that names a variable."""
    config = command.write(
        "config.yaml", "model_list: []\ngeneral_settings: {allow_empty: true, database_url: os.environ/STORE}\n"
    )

    done = db("upgrade", "--config", str(config), STORE=f"sqlite:///{command.folder}/named.db")

    assert done.returncode == 0, done.stderr
    assert (command.folder / "named.db").exists()


def test_a_file_that_is_broken_is_told(db, command):
    """Every problem has its place, and the command does nothing."""
    config = command.write("config.yaml", "general_settings: {database_url: 'mysql://u:geheim@h/d'}\n")

    done = db("upgrade", "--config", str(config))

    assert done.returncode == 1
    assert "config.yaml:1:" in done.stderr
    assert "geheim" not in done.stderr


def test_a_backup_is_a_database(db, command):
    """It is whole, for its owner alone, and never written over another."""
    db("upgrade")
    target = command.folder / "backup.db"

    done, again = db("backup", str(target)), db("backup", str(target))

    assert done.returncode == 0, done.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    assert db("check", DATABASE_URL=str(target)).returncode == 0
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_all_is_copied_and_compared(db, command):
    """What was moved is shown by table, with its money."""
    db("upgrade")
    with sqlite3.connect(command.folder / "data" / FILE) as connection:
        connection.execute("INSERT INTO llmproxy_spend VALUES ('key', 'a', 0, 'n', 1500000001)")
    connection.close()

    done = db("copy", "--to", str(command.folder / "copy.db"))
    again = db("copy", "--to", str(command.folder / "copy.db"), "--json")

    assert done.returncode == 0, done.stderr
    assert "1.500000001 USD" in done.stdout
    assert json.loads(again.stdout)["ok"] is False
    assert "has rows in llmproxy_spend already" in again.stdout


@pytest.mark.row("C-52")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:geheim@h/d", "mysql://"),
        ("postgresql://u:geheim@127.0.0.1:1/d", "nothing listens there"),
        ("postgresql://u:ge@heim@127.0.0.1/d", "%40"),
        ("postgresql://u:geheim@nowhere.invalid/d", "nowhere.invalid"),
        ("postgresql://u:geheim@127.0.0.1:1", "no name of a database"),
    ],
)
def test_addresses_that_lead_nowhere_are_told_without_the_password(db, url, words):
    """One sentence with what is wrong, and no word of the secret."""
    done = db("upgrade", DATABASE_URL=url)

    assert done.returncode == 1
    assert words in done.stderr
    assert "heim" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_target_may_be_named_by_a_variable(db, command):
    """So that no list of processes shows its password; one that is not set is told."""
    db("upgrade")

    done = db("copy", "--to", "os.environ/TARGET", TARGET=str(command.folder / "copy.db"))
    missing = db("copy", "--to", "os.environ/NOPE")

    assert done.returncode == 0, done.stderr
    assert (command.folder / "copy.db").exists()
    assert "NOPE, which is not set" in missing.stderr


@pytest.mark.parametrize("arguments", [("backup",), ("copy",), ("check", "file"), ("upgrade", "--to", "x"), ("drop",)])
def test_actions_with_the_wrong_words_are_refused(db, arguments):
    """Each takes its own words and no others."""
    assert db(*arguments).returncode == 2


PARAMS = {"model": "openai/x", "api_key": "sk-canary"}
OLD, NEW = "sk-the-former-salt-key", "sk-the-present-salt-key"


@pytest.fixture
def sealed(db, command):
    """A database with a stored model, sealed with the former key."""
    db("upgrade")
    path = command.folder / "data" / FILE

    async def put():
        store = open_store(StoreSettings(path=path))
        await store.write(
            lambda connection: connection.execute(
                insert(MODELS).values(
                    model_id="m",
                    model_name="mine",
                    params=seal_params(
                        seal_of(connection, Secret(OLD)), "m", {"model": "openai/x", "api_key": "sk-canary"}
                    ),
                )
            )
        )
        await store.close()

    asyncio.run(put())
    return path


def keys_in(path, key):
    """What the stored models' keys are, opened with a key."""

    async def read():
        store = open_store(StoreSettings(path=path))
        try:
            return await store.read(lambda connection: load(connection, Secret(key)))
        finally:
            await store.close()

    return [each.litellm_params.api_key.reveal() for each in asyncio.run(read()).entries]


@pytest.mark.row("P-07")
def test_a_rotation_seals_stored_models_with_the_present_key(db, sealed):
    """What was kept is what it was; neither key is shown."""
    done = db("rotate", "--from-key", "os.environ/OLD", OLD=OLD, LITELLM_SALT_KEY=NEW)

    assert done.returncode == 0, done.stderr
    assert "1 stored models are sealed with the present key" in done.stdout
    assert keys_in(sealed, NEW) == ["sk-canary"]
    assert OLD not in done.stdout + done.stderr
    assert NEW not in done.stdout + done.stderr


@pytest.mark.row("P-07")
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OLD": "sk-some-other-key", "LITELLM_SALT_KEY": NEW}, "sealed with another key"),
        ({"OLD": OLD}, "set LITELLM_SALT_KEY"),
        ({"LITELLM_SALT_KEY": NEW}, "names the variable OLD"),
    ],
)
def test_a_rotation_that_cannot_be_changes_nothing(db, sealed, variables, words):
    """A wrong former key, none to seal with, or a variable that is not set: one sentence."""
    done = db("rotate", "--from-key", "os.environ/OLD", **variables)

    assert done.returncode == 1
    assert words in done.stderr
    assert keys_in(sealed, OLD) == ["sk-canary"]


def test_a_rotation_needs_the_former_key(db):
    """And nothing else takes one."""
    assert "needs it" in db("rotate").stderr
    assert "goes with `rotate`" in db("check", "--from-key", "x").stderr
