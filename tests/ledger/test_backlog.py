"""What is spent, and in no store yet."""

import pytest

from proxy_cli.ledger.backlog import Backlog
from proxy_cli.ledger.framing import START
from proxy_cli.ledger.journal import Journal, Room
from proxy_cli.ledger.posting import DONE
from proxy_cli.ledger.segments import read, segments_in
from tests.fakes.rows import CHARGE, intent, settled


def journal_in(folder, *, segment_bytes=4096):
    """One process's journal."""
    return Journal(Room(folder, segment_bytes=segment_bytes), node="n", number=0)


def test_what_a_living_process_has_settled_is_pending_and_its_intents_are_not(tmp_path):
    """What is under way is reserved elsewhere; what has been said since the last look counts at once."""
    journal, backlog = journal_in(tmp_path), Backlog(tmp_path, "later")
    for number in range(100):
        journal.intent(intent(str(number)))
        journal.settle(settled(str(number), cost=2))
    journal.intent(intent("under way", reserved=50))

    assert backlog.look({})["n"][CHARGE] == 200
    journal.settle(settled("under way", cost=40))
    assert backlog.look({})["n"][CHARGE] == 240
    assert backlog.sums["n"][CHARGE] == 240
    journal.close()


def test_what_an_ended_process_had_under_way_is_pending_with_its_reservation(tmp_path):
    """It will be charged so."""
    journal, backlog = journal_in(tmp_path), Backlog(tmp_path, "later")
    journal.intent(intent("a", reserved=50))
    journal.intent(intent("b", reserved=500))
    journal.settle(settled("b", cost=1))
    journal.close()

    assert [backlog.look({})["n"][CHARGE] for _ in range(2)] == [51, 51]


def test_what_our_own_ended_processes_had_under_way_is_told_and_not_pending(tmp_path):
    """A worker of this server that was killed is counted when its rows are made, and not before as well."""
    journal = journal_in(tmp_path)
    journal.intent(intent("a", reserved=50))
    journal.settle(settled("b", cost=1))
    journal.close()

    assert Backlog(tmp_path, "n").look({})["n"][CHARGE] == 1


def test_what_is_in_the_store_is_not_pending(tmp_path):
    """Wherever the store is, what it has and what is pending are together always the same."""
    journal, backlog = journal_in(tmp_path), Backlog(tmp_path, "later")
    for number in range(30):
        journal.settle(settled(str(number), cost=2))
    journal.close()
    names = segments_in(tmp_path)
    ends = [(name, record.end) for name in names for records, _ in read(tmp_path / name.file, 0) for record in records]
    places = dict.fromkeys(names, START)

    pending = [backlog.look(dict(places))["n"][CHARGE]]
    for name, end in ends:
        places[name] = end
        pending.append(backlog.look(dict(places))["n"][CHARGE])

    assert pending == [60 - 2 * number for number in range(31)]
    assert backlog.look(dict.fromkeys(names, DONE))["n"][CHARGE] == 0


def test_a_segment_that_nobody_has_begun_with_is_read_once(tmp_path):
    """While a long replay goes on, asking again costs nothing: even a file that is gone is remembered for that look."""
    journal, backlog = journal_in(tmp_path), Backlog(tmp_path, "later")
    for number in range(100):
        journal.settle(settled(str(number), cost=2))
    journal.close()
    backlog.look({})

    for name in segments_in(tmp_path):
        (tmp_path / name.file).write_bytes(b"")

    assert backlog.look({})["n"][CHARGE] == 200


def test_a_folder_that_is_not_there_has_nothing_pending(tmp_path):
    """Before the first request nothing is made."""
    assert Backlog(tmp_path / "journal", "later").look({}) == {}


def test_a_record_that_cannot_be_read_is_passed_over(tmp_path):
    """What has no meaning has no cost."""
    journal = journal_in(tmp_path)
    row = settled("a", cost=2)
    journal.settle(row)
    journal.void("b")
    journal.close()

    assert Backlog(tmp_path, "later").look({})["n"][CHARGE] == 2


@pytest.mark.row("K-09")
def test_segments_that_are_gone_are_forgotten(tmp_path):
    """What is remembered is bounded by what there is."""
    journal, backlog = journal_in(tmp_path), Backlog(tmp_path, "later")
    for number in range(100):
        journal.settle(settled(str(number)))
    journal.close()
    backlog.look({})

    for path in tmp_path.iterdir():
        path.unlink()

    assert backlog.look({}) == {}
    assert not backlog._whole
    assert not backlog._orphans
