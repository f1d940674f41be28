"""Everything from one database into another, and the proof of it."""

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import insert, select, update

from proxy_cli.store.changes import newest_change, say_changed
from proxy_cli.store.copying import copy_all, sums_of, transaction
from proxy_cli.store.failures import StoreProblem
from proxy_cli.store.opening import open_store
from proxy_cli.store.schema import migrate
from proxy_cli.store.settings import StoreSettings, settings_of
from proxy_cli.store.tables import KEYS, LEDGER, METADATA, SPEND
from tests.fakes.store import fresh_settings

ROWS = 1203  # more than are moved at a time
NOW = 1_795_402_680_123_456


def fill(connection):
    """Rows with everything that could get lost: nulls, JSON, other letters, the greatest numbers, NUL characters."""
    for name in ("ä", "b"):
        connection.execute(
            insert(KEYS).values(
                digest=name * 64, alias=None, expires_at=None, fields={"max_budget": 0.1, "none": None}, created_at=NOW
            )
        )
        say_changed(connection, "key", name)
    rows = [
        {"request_id": f"r{number:05}", "cost_nano": number * 7, "started_at": NOW, "tags": ["x"], "error": "a\0b"}
        for number in range(ROWS)
    ]
    connection.execute(insert(LEDGER), rows)
    connection.execute(insert(SPEND).values(kind="proxy", id="", window=0, node="n", nano=2**62))


def all_of(connection, query):
    """Work that reads what a query finds."""
    return connection.execute(query).all()


async def filled(settings):
    """A database with rows."""
    store = open_store(settings)
    await store.write(fill)
    await store.close()
    return settings


async def test_a_file_is_copied_to_a_server_and_back(tmp_path, postgres_server):
    """Every row arrives as it was, both ways; a database that is missing is made."""
    source = await filled(fresh_settings(tmp_path))
    server = settings_of(postgres_server.url(postgres_server.new(has_tables=False)), {}, tmp_path)
    back = StoreSettings(path=tmp_path / "back.db")

    there, home = await copy_all(source, server), await copy_all(server, back)

    assert there == home
    told = {each.table: (each.rows, each.nano) for each in there}
    assert told["llmproxy_ledger"] == (ROWS, sum(number * 7 for number in range(ROWS)))
    assert told["llmproxy_spend"] == (1, 2**62)
    for table in METADATA.sorted_tables:
        async with transaction(source, reads_only=True) as first, transaction(back, reads_only=True) as second:
            query = select(table).order_by(*table.primary_key.columns)
            rows = [await read(partial(all_of, query=query)) for read in (first, second)]
        expected = [
            tuple("a\N{REPLACEMENT CHARACTER}b" if value == "a\0b" else value for value in row) for row in rows[0]
        ]
        assert expected == list(map(tuple, rows[1])), table.name


async def test_numbers_of_changes_go_on_where_they_were(tmp_path, postgres):
    """The next change after the copy is not given a number that is taken."""
    await copy_all(await filled(fresh_settings(tmp_path)), postgres)
    store = open_store(postgres)

    await store.write(lambda connection: say_changed(connection, "key", "c"))

    assert await store.read(newest_change) == 3
    await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_database_that_has_rows_is_not_copied_into(tmp_path, request, kind):
    """Two databases are never mixed, and nothing of the target is touched."""
    source = await filled(fresh_settings(tmp_path))
    (tmp_path / "other").mkdir()
    target = fresh_settings(tmp_path / "other") if kind == "sqlite" else request.getfixturevalue("postgres")
    await filled(target)

    with pytest.raises(StoreProblem, match=r"has rows in llmproxy_.* already"):
        await copy_all(source, target)


async def test_what_does_not_arrive_whole_is_undone(tmp_path, postgres_server):
    """A server that changes rows on their way in is found out by the sums, and keeps nothing."""
    source = await filled(fresh_settings(tmp_path))
    name = postgres_server.new()
    postgres_server.sql(
        "CREATE FUNCTION cheat() RETURNS trigger AS $$ BEGIN NEW.cost_nano := NEW.cost_nano + 1; RETURN NEW; END $$ "
        "LANGUAGE plpgsql",
        name,
    )
    postgres_server.sql(
        "CREATE TRIGGER cheat BEFORE INSERT ON llmproxy_ledger FOR EACH ROW EXECUTE FUNCTION cheat()", name
    )

    with pytest.raises(StoreProblem, match="llmproxy_ledger has not arrived whole: cost_nano"):
        await copy_all(source, settings_of(postgres_server.url(name), {}, tmp_path))

    assert postgres_server.sql("SELECT count(*) FROM llmproxy_key", name) == [(0,)]


async def test_a_database_is_not_copied_onto_itself(tmp_path):
    """Nor is one that is missing, or of another version."""
    settings = fresh_settings(tmp_path)

    with pytest.raises(StoreProblem, match="name another with --to"):
        await copy_all(settings, replace(settings, timeout_s=9.0))
    with pytest.raises(StoreProblem, match="cannot be copied"):
        await copy_all(StoreSettings(path=tmp_path / "none.db"), StoreSettings(path=tmp_path / "a.db"))
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreProblem, match="version none"):
        await copy_all(StoreSettings(path=tmp_path / "empty.db"), StoreSettings(path=tmp_path / "b.db"))


async def test_the_sums_of_a_table_see_what_is_missing(tmp_path):
    """Rows and every column that counts; moments are too large to be summed, and say nothing."""
    settings = await filled(fresh_settings(tmp_path))
    migrate(settings)

    async with transaction(settings, reads_only=False) as run:
        before = await run(lambda connection: sums_of(connection, LEDGER))
        await run(lambda connection: connection.execute(update(LEDGER).values(prompt_tokens=1)))
        after = await run(lambda connection: sums_of(connection, LEDGER))

    assert before["rows"] == ROWS
    assert after["prompt_tokens"] == ROWS
    assert "started_at" not in before
