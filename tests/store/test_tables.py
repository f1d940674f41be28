"""The tables themselves: their names, their keys, and what a row may not hold."""

import sqlite3

import pytest

from proxy_cli.ledger.row import Row
from proxy_cli.store.tables import LEDGER, METADATA, PREFIX
from tests.fakes.store import fresh_file


def test_every_table_has_our_prefix_and_a_key():
    """A database that another program uses is safe, and every row can be found again."""
    for table in METADATA.sorted_tables:
        assert table.name.startswith(PREFIX)
        assert list(table.primary_key.columns)


def test_a_row_of_the_ledger_has_its_columns():
    """What the journal keeps of a request fits into the table; only what it counts for goes elsewhere."""
    fields = {name for name in Row.__struct_fields__ if name != "charges"}

    assert fields == set(LEDGER.columns.keys())


@pytest.mark.parametrize("column", ["cost_nano", "prompt_tokens", "completion_tokens"])
def test_nothing_costs_less_than_nothing(tmp_path, column):
    """The database itself refuses a cost or a count below zero."""
    with sqlite3.connect(fresh_file(tmp_path)) as connection:
        columns = [each.name for each in LEDGER.columns if not each.nullable]
        values = {name: "[]" if name in {"tags", "metadata"} else 0 for name in columns} | {column: -1}
        statement = f"INSERT INTO llmproxy_ledger ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"

        with pytest.raises(sqlite3.IntegrityError, match="llmproxy_ledger_sound"):
            connection.execute(statement, list(values.values()))
    connection.close()
