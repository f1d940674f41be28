"""Rows of the ledger to test with, and what a journal comes to."""

from pathlib import Path

from proxy_cli.ledger.framing import VOID
from proxy_cli.ledger.reading import row_of
from proxy_cli.ledger.row import Row, State
from proxy_cli.ledger.segments import read, segments_in

CHARGE = ("key", "k", 0)


def intent(name: str, *, reserved: int = 7) -> Row:
    """A request that is about to be sent."""
    return Row(request_id=name, key="k", reserved_nano=reserved, started_at=1_800_000_000_000_000, charges=(CHARGE,))


def settled(name: str, *, cost: int = 3, tags: tuple[str, ...] = ()) -> Row:
    """A request that was answered."""
    row = intent(name)
    row.state, row.cost_nano, row.tags, row.usage_source = State.SETTLED, cost, tags, "provider"
    row.prompt_tokens, row.completion_tokens = 10, 20
    return row


def written(folder: Path) -> list[tuple[int, str]]:
    """Every record of a folder's journals, in order: its kind and whose it is."""
    return [
        (record.kind, row_of(record.data).request_id if record.kind != VOID else "")
        for name in segments_in(folder)
        for records, _ in read(folder / name.file, 0)
        for record in records
    ]
