"""A row of the ledger, as it stands in a journal."""

import msgspec

from proxy_cli.ledger.row import Row, State
from proxy_cli.store.tables import LEDGER


def test_a_row_has_the_columns_of_the_table():
    """What a row knows has a column of the same name, but for what it is charged to."""
    assert set(Row.__struct_fields__) - {"charges"} == {column.name for column in LEDGER.columns}


def test_a_row_of_a_former_version_is_read():
    """A journal that was written before an update has rows with fewer fields."""
    whole = msgspec.to_builtins(Row(request_id="r", state=State.SETTLED, call_type="chat"))

    row = msgspec.msgpack.decode(msgspec.msgpack.encode(whole[:3]), type=Row)

    assert (row.request_id, row.state, row.call_type, row.charges) == ("r", State.SETTLED, "chat", ())
