"""Which database it is, by the file, by variables, or by itself."""

from pathlib import Path

import pytest

from proxy_cli.secret import Secret
from proxy_cli.store.failures import StoreProblem
from proxy_cli.store.settings import data_dir, settings_of

FOLDER = Path("/data")


def test_without_a_word_it_is_a_file_in_the_folder():
    """Nobody has named it, so it may be passed over where it cannot be made."""
    settings = settings_of(None, {}, FOLDER)

    assert (settings.path, settings.dialect, settings.is_explicit) == (FOLDER / "llmproxy.db", "sqlite", False)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///kept/a.db", "kept/a.db"),
        ("sqlite:////var/lib/a.db", "/var/lib/a.db"),
        ("sqlite:////var/my%20lib/a.db", "/var/my lib/a.db"),
        ("/var/lib/a.db", "/var/lib/a.db"),
        ("./a.db", "a.db"),
        (' "./a.db"\n', "a.db"),
    ],
)
def test_a_file_may_be_named_in_each_way(url, path):
    """As SQLAlchemy writes it, or as a path."""
    settings = settings_of(Secret(url), {}, FOLDER)

    assert settings.path == Path(path)
    assert settings.is_explicit


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_postgresql_is_known_by_both_names(scheme):
    """Without its password it may be shown."""
    settings = settings_of(f"{scheme}://u:geheim@h/d?connection_limit=3&pool_timeout=7", {}, FOLDER)

    assert settings.dialect == "postgresql"
    assert settings.shown == "postgresql://u:***@h:5432/d"
    assert (settings.pool, settings.timeout_s) == (3, 7.0)
    assert "geheim" not in repr(settings)


def test_the_file_counts_before_variables():
    """And of variables, ours before the other."""
    environ = {"DATABASE_URL": "/b.db", "LLMPROXY_DATABASE_URL": "/a.db"}

    assert settings_of("/file.db", environ, FOLDER).path == Path("/file.db")
    assert settings_of(None, environ, FOLDER).path == Path("/a.db")
    assert settings_of(None, {"DATABASE_URL": "/b.db"}, FOLDER).path == Path("/b.db")


def test_what_the_file_says_of_the_pool_counts_before_the_address():
    """The settings have names of their own."""
    settings = settings_of("postgresql://h/d?connection_limit=3&pool_timeout=7", {}, FOLDER, pool=5, timeout_s=1.5)

    assert (settings.pool, settings.timeout_s) == (5, 1.5)


def test_single_variables_make_up_an_address():
    """As LiteLLM's chart sets them; letters that mean something in an address are taken as they are."""
    environ = {
        "DATABASE_HOST": "db",
        "DATABASE_PORT": "6432",
        "DATABASE_NAME": "llm",
        "DATABASE_USERNAME": "me",
        "DATABASE_PASSWORD": "a/b@c:d#e",
        "DATABASE_SCHEMA": "team",
    }

    address = settings_of(None, environ, FOLDER).postgres

    assert address is not None
    assert (address.host, address.port, address.database, address.user) == ("db", 6432, "llm", "me")
    assert address.password == Secret("a/b@c:d#e")
    assert address.schema == "team"
    assert settings_of(None, {"DATABASE_HOST": "db"}, FOLDER).path == FOLDER / "llmproxy.db"


@pytest.mark.row("C-52")
@pytest.mark.parametrize("url", ["mysql://u:geheim@h/d", "redis://:geheim@h", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url):
    """The sentence says what can be written instead, and shows no password."""
    with pytest.raises(StoreProblem, match="sqlite:///path") as problem:
        settings_of(url, {}, FOLDER)

    assert "geheim" not in str(problem.value)


def test_the_folder_for_data_may_be_named(tmp_path):
    """By LLMPROXY_DATA_DIR; else it is the user's own."""
    assert data_dir({"LLMPROXY_DATA_DIR": str(tmp_path)}) == tmp_path
    assert data_dir({"LLMPROXY_DATA_DIR": " "}).name == "llmproxy"
