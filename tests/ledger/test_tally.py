"""What a complete segment comes to, said beside it."""

import pytest

from proxy_cli.ledger.backlog import Backlog
from proxy_cli.ledger.journal import Journal, Room
from proxy_cli.ledger.segments import segments_in
from proxy_cli.ledger.tally import by_charge, file_beside, read_beside, write_beside
from tests.fakes.rows import CHARGE, intent, settled

PLENTY = 1_000_000


def left_by_a_killed_process(folder, *, requests=300):
    """Segments of a journal that was not closed; every tenth request has no outcome, and so has the first."""
    journal = Journal(Room(folder, segment_bytes=8192), node="former", number=0)
    journal.intent(intent("long", reserved=1000))
    for number in range(requests):
        journal.intent(intent(str(number), reserved=5))
        if number % 10:
            journal.settle(settled(str(number), cost=2))
    if journal._making is not None:
        journal._making.join()
    return journal


def looked(folder):
    """What somebody finds who looks for the first time, while the process does not live."""
    return Backlog(folder, "later").look({})["former"][CHARGE]


@pytest.mark.row("K-09")
def test_what_is_said_beside_segments_is_what_stands_in_them(tmp_path):
    """With all files beside them, with some and with none, the same is pending."""
    journal = left_by_a_killed_process(tmp_path)
    journal.close()
    beside = sorted(tmp_path.glob("*.sums"))

    found = [looked(tmp_path)]
    for path in (beside[0], beside[-1], *beside[1:-1]):
        path.unlink()
        found.append(looked(tmp_path))

    assert len(beside) > 3
    assert found == [270 * 2 + 30 * 5 + 1000] * len(found)


@pytest.mark.row("K-09")
def test_a_segment_with_a_file_beside_it_is_not_read(tmp_path):
    """However long the journal is, a start reads the last segments only."""
    left_by_a_killed_process(tmp_path).close()

    for name in segments_in(tmp_path):
        if file_beside(tmp_path / name.file).exists():
            (tmp_path / name.file).write_bytes(b"")

    assert looked(tmp_path) == 270 * 2 + 30 * 5 + 1000


def test_what_comes_to_several_charges_together_comes_to_each():
    """A request of a key and its team counts for both."""
    key, team = ("key", "a", 0), ("team", "t", 60)

    assert by_charge({(key, team): 3, (key,): 4}) == {key: 7, team: 3}


@pytest.mark.row("K-07")
def test_a_file_that_was_cut_is_as_none(tmp_path):
    """Cut at any byte, it says nothing, and the segment is read instead."""
    segment = tmp_path / "n-0-1.000001.journal"
    segment.touch()
    write_beside(segment, {(CHARGE,): 3}, [intent("a")], most_bytes=PLENTY)
    whole = file_beside(segment).read_bytes()

    said = []
    for cut in range(len(whole)):
        file_beside(segment).write_bytes(whole[:cut])
        said.append(read_beside(segment))

    assert said == [None] * len(whole)


def test_a_file_beside_a_segment_that_is_gone_goes_too(tmp_path):
    """Who drains may be quicker than who says what the segment comes to: nothing is left behind."""
    write_beside(tmp_path / "n-0-1.000001.journal", {(CHARGE,): 3}, [], most_bytes=PLENTY)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.row("D-01")
def test_where_there_is_no_room_nothing_is_put_beside(tmp_path):
    """The bound of the journal holds for this as well."""
    segment = tmp_path / "n-0-1.000001.journal"
    segment.touch()

    write_beside(segment, {(CHARGE,): 3}, [], most_bytes=10)

    assert list(tmp_path.iterdir()) == [segment]


def test_what_cannot_be_written_is_left_out(tmp_path):
    """A folder that is gone is no reason to fail."""
    write_beside(tmp_path / "gone" / "n-0-1.000001.journal", {(CHARGE,): 3}, [], most_bytes=PLENTY)

    assert read_beside(tmp_path / "gone" / "n-0-1.000001.journal") is None
