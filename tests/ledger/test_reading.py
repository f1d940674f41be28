"""Journals read on by whoever has the turn."""

import logging
import os

import pytest

from proxy_cli.ledger.framing import CLOSED, INTENT, SETTLED, START, frame
from proxy_cli.ledger.journal import Journal, Room
from proxy_cli.ledger.posting import DONE
from proxy_cli.ledger.reading import BATCH_ROWS, Reader
from proxy_cli.ledger.row import State
from proxy_cli.ledger.segments import segments_in
from tests.fakes.rows import intent, settled, written


def journal_in(folder, *, segment_bytes=64 * 1024, number=0):
    """One process's journal."""
    return Journal(Room(folder, segment_bytes=segment_bytes), node="n", number=number)


def reader_of(folder, positions=None):
    """Somebody who has just taken the turn."""
    reader = Reader(folder, "n")
    reader.recover(reader.found(), positions or {})
    return reader


def drained(reader):
    """All that a reader finds until there is nothing more, and removes: rows in their order."""
    rows = []
    while True:
        batch = reader.next(is_last=True)
        reader.stored(batch)
        rows += batch.rows
        if not batch.rows:
            break
    for orphans in reader.orphans(5):
        reader.stored(orphans)
        rows += orphans.rows
    reader.remove(reader.done())
    return rows


def test_rows_are_read_once_and_while_they_come(tmp_path):
    """What was read and stored does not come again; what is said later does."""
    journal, reader = journal_in(tmp_path), reader_of(tmp_path)
    journal.intent(intent("a"))
    journal.settle(settled("a"))

    first = drained(reader)
    journal.settle(settled("b"))
    second = drained(reader)

    assert [[row.request_id for row in rows] for rows in (first, second)] == [["a"], ["b"]]
    journal.close()


def test_a_journal_is_quiet_until_something_is_written(tmp_path):
    """What a look costs is only spent where there is something to read: a record, a segment, an end."""
    first, reader = journal_in(tmp_path, segment_bytes=4096), reader_of(tmp_path)
    first.intent(intent("a"))

    said = [reader.is_quiet()]
    reader.next()
    said.append(reader.is_quiet())
    first.settle(settled("a"))
    said.append(reader.is_quiet())
    drained(reader)
    said.append(reader.is_quiet())
    second = journal_in(tmp_path, number=1)
    second.intent(intent("b"))
    said.append(reader.is_quiet())
    reader.next()
    said.append(reader.is_quiet())
    first.close()
    said.append(reader.is_quiet())
    second.close()

    assert said == [False, True, False, True, False, True, False]


def test_a_batch_has_a_bound_and_the_next_goes_on(tmp_path):
    """However much has gathered, so many rows are taken at once, and all in the end."""
    journal, reader = journal_in(tmp_path), reader_of(tmp_path)
    names = [str(number) for number in range(BATCH_ROWS + 10)]
    for name in names:
        journal.intent(intent(name))
        journal.settle(settled(name))

    first = reader.next()
    reader.stored(first)
    second = reader.next()

    assert [row.request_id for row in first.rows] == names[:BATCH_ROWS]
    assert [row.request_id for row in second.rows] == names[BATCH_ROWS:]
    journal.close()


def test_segments_go_when_nothing_in_them_is_needed(tmp_path):
    """What is left of a long journal is the segment that is written to; of a process that ended, nothing."""
    journal, reader = journal_in(tmp_path, segment_bytes=4096), reader_of(tmp_path)
    for number in range(100):
        journal.intent(intent(str(number)))
        journal.settle(settled(str(number)))

    drained(reader)
    while_it_lives = segments_in(tmp_path)
    journal.close()
    drained(reader)

    assert len(while_it_lives) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_long_request_keeps_its_segment_and_no_other(tmp_path):
    """While one stream goes on for hours the journal does not grow by what others say."""
    journal, reader = journal_in(tmp_path, segment_bytes=4096), reader_of(tmp_path)
    journal.intent(intent("long"))
    for number in range(100):
        journal.intent(intent(str(number)))
        journal.settle(settled(str(number)))

    drained(reader)

    assert [name.number for name in segments_in(tmp_path)] == [1, segments_in(tmp_path)[-1].number]
    journal.settle(settled("long"))
    assert [row.request_id for row in drained(reader)] == ["long"]
    journal.close()
    drained(reader)
    assert segments_in(tmp_path) == []


def test_an_intent_whose_outcome_is_gone_with_its_segment_is_not_charged_again(tmp_path):
    """It is marked where it stands, so that whoever takes the turn later does not take it for open."""
    journal, reader = journal_in(tmp_path, segment_bytes=4096), reader_of(tmp_path)
    journal.intent(intent("long"))
    journal.intent(intent("short"))
    for number in range(20):
        journal.intent(intent(str(number)))
        journal.settle(settled(str(number)))
    journal.settle(settled("short"))
    for number in range(20, 60):
        journal.intent(intent(str(number)))
        journal.settle(settled(str(number)))
    drained(reader)
    journal.close()

    kept = {name: reader._cursors[name].stored for name in segments_in(tmp_path)}
    rows = drained(reader_of(tmp_path, kept))

    assert [(row.request_id, row.state) for row in rows] == [("long", State.UNKNOWN)]


def test_what_had_no_outcome_when_its_process_ended_is_unknown_and_costs_what_was_reserved(tmp_path):
    """A request whose process is gone is charged once, by its reservation, and the row says so."""
    journal, reader = journal_in(tmp_path), reader_of(tmp_path)
    journal.intent(intent("a", reserved=11))
    journal.intent(intent("b"))
    journal.void("b")
    while_it_lives = drained(reader)
    journal.close()

    rows = drained(reader)

    assert while_it_lives == []
    assert [(row.request_id, row.state, row.cost_nano, row.usage_source) for row in rows] == [
        ("a", State.UNKNOWN, 11, "reserved")
    ]
    assert rows[0].ended_at == 5
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_the_store_has_done_with_is_removed_without_being_read(tmp_path):
    """When the turn passed between the transaction and the removal of the files, nothing is charged twice."""
    journal = journal_in(tmp_path)
    journal.intent(intent("a"))
    journal.close()

    rows = drained(reader_of(tmp_path, dict.fromkeys(segments_in(tmp_path), DONE)))

    assert rows == []
    assert list(tmp_path.iterdir()) == []


def test_marks_are_made_again_by_whoever_takes_the_turn(tmp_path):
    """When the turn passed between the transaction and the marks, they are not missing."""
    journal, reader = journal_in(tmp_path, segment_bytes=4096), reader_of(tmp_path)
    journal.intent(intent("early"))
    for number in range(60):
        journal.intent(intent(str(number)))
    journal.settle(settled("early"))
    batch = reader.next()
    positions = {name: after for name, (_, after) in batch.steps.items()}

    reader_of(tmp_path, positions)

    assert written(tmp_path)[0] == (CLOSED, "early")
    assert [kind for kind, _ in written(tmp_path)].count(INTENT) == 60
    journal.close()


@pytest.mark.row("K-07")
def test_a_journal_that_was_cut_gives_its_whole_records_and_tells_how_much_was_dropped(tmp_path, caplog):
    """Cut at each byte: all rows before the cut are there, and the message has the number of bytes behind the last."""
    journal = journal_in(tmp_path, segment_bytes=4096)
    journal.intent(intent("a"))
    journal.settle(settled("a"))
    journal.settle(settled("b"))
    journal.close()
    path = tmp_path / segments_in(tmp_path)[0].file
    whole = path.read_bytes()
    ends = ends_of(tmp_path)

    for cut in range(len(whole.rstrip(b"\0"))):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / path.name).write_bytes(whole[:cut])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            rows = drained(reader_of(folder))
        last = max((end for end in [0, START, *ends] if end <= cut), default=0)
        dropped = len(whole[max(last, START) : cut].rstrip(b"\0")) if cut >= START else 0
        assert [row.request_id for row in rows if row.state is not State.UNKNOWN] == ["a", "b"][: passed(ends[1:], cut)]
        assert [f"last {dropped} bytes" in message for message in caplog.messages] == [True] * bool(dropped)


def ends_of(folder):
    """Where each record of the only segment ends."""
    reader = Reader(folder, "n")
    return [record.end for records, _ in reader._pieces(segments_in(folder)[0], 0) for record in records]


def passed(ends, cut):
    """How many of the places a cut lies behind."""
    return sum(end <= cut for end in ends)


def test_a_record_that_cannot_be_read_is_passed_over_and_told(tmp_path, caplog):
    """What has the right checksum and no meaning does not stop what follows."""
    journal, reader = journal_in(tmp_path), reader_of(tmp_path)
    journal._say(frame(SETTLED, b"\xff"), "", None)
    journal.settle(settled("b"))

    rows = drained(reader)

    assert [row.request_id for row in rows] == ["b"]
    assert reader.unreadable == 1
    assert "cannot be read" in caplog.text
    journal.close()


def test_no_process_keeps_the_journals_of_others_waiting(tmp_path):
    """Where one writes more than is taken at once, the next reading begins with another."""
    busy, quiet, reader = journal_in(tmp_path, number=0), journal_in(tmp_path, number=1), reader_of(tmp_path)
    for number in range(3 * BATCH_ROWS):
        busy.settle(settled(str(number)))
    quiet.settle(settled("quiet"))

    rows = []
    for _ in range(2):
        batch = reader.next()
        reader.stored(batch)
        rows += [row.request_id for row in batch.rows]

    assert "quiet" in rows
    busy.close()
    quiet.close()


def test_a_segment_that_somebody_deleted_is_told_and_does_not_stop_the_rest(tmp_path, caplog):
    """What is gone is gone; the log says which."""
    journal, reader = journal_in(tmp_path, segment_bytes=4096), reader_of(tmp_path)
    for number in range(100):
        journal.intent(intent(str(number)))
    reader.next()
    gone = segments_in(tmp_path)[0]

    (tmp_path / gone.file).unlink()
    journal.settle(settled("99"))

    assert [row.request_id for row in drained(reader)] == ["99"]
    assert str(gone) in caplog.text
    journal.close()


def test_what_a_process_left_that_never_wrote_is_swept_up_in_time(tmp_path):
    """A lock without segments goes when it is old enough not to be that of a process which is about to write."""
    old, young = tmp_path / "n-0-1.lock", tmp_path / "n-0-2.lock"
    for path in (old, young, old.with_suffix(".new")):
        path.touch()
    os.utime(old, (1, 1))

    reader_of(tmp_path)

    assert list(tmp_path.iterdir()) == [young]
