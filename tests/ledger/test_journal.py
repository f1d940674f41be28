"""What one process writes of its requests."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from proxy_cli.ledger.framing import INTENT, SETTLED, VOID
from proxy_cli.ledger.journal import Journal, JournalFull, Room, SafeJournal
from proxy_cli.ledger.segments import allocate, segments_in
from tests.fakes.rows import intent, settled, written


class Clock:
    """Time that a test turns."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class Disk:
    """An allocator that can be full."""

    def __init__(self):
        self.is_full = False

    def __call__(self, descriptor, size):
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(descriptor, size)


def sent_until_refused(journal, sent):
    """Begin requests until there is no room."""
    for number in range(1000):
        journal.intent(intent(str(number)))
        sent.append(str(number))


def test_nothing_is_made_before_there_is_something_to_write(tmp_path):
    """A process without requests has no files."""
    journal = Journal(Room(tmp_path / "journal"), node="n", number=0)
    journal.close()

    assert not (tmp_path / "journal").exists()


def test_what_is_said_stands_in_the_file_at_once(tmp_path):
    """Intent, outcome and withdrawal are there for other readers before anything is closed."""
    journal = Journal(Room(tmp_path), node="n", number=0)

    journal.intent(intent("a"))
    journal.settle(settled("a"))
    journal.intent(intent("b"))
    journal.void("b")

    assert written(tmp_path) == [(INTENT, "a"), (SETTLED, "a"), (INTENT, "b"), (VOID, "")]
    journal.close()


def test_what_power_may_not_take_is_on_the_disk_with_each_record(tmp_path):
    """Over several segments; what is read of it is the same."""
    journal = SafeJournal(Room(tmp_path, segment_bytes=2048), node="n", number=0)

    for number in range(50):
        journal.intent(intent(str(number)))
        assert journal._on_disk == (journal._number, journal._position)
        journal.settle(settled(str(number)))
        assert journal._on_disk == (journal._number, journal._position)
    journal.close()

    assert len(segments_in(tmp_path)) > 1
    assert [name for kind, name in written(tmp_path) if kind == SETTLED] == [str(number) for number in range(50)]


@pytest.mark.row("K-01")
def test_what_was_said_outlives_a_kill(tmp_path):
    """A process that is killed right after its word leaves it in the journal."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from proxy_cli.ledger.journal import Journal, Room\n"
        "from proxy_cli.ledger.row import Row\n"
        "journal = Journal(Room(Path(sys.argv[1])), node='n', number=0)\n"
        "journal.intent(Row(request_id='a'))\n"
        "journal.settle(Row(request_id='a'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)])

    assert ended.returncode == -signal.SIGKILL
    assert written(tmp_path) == [(INTENT, "a"), (SETTLED, "a")]


def test_segments_follow_one_another_without_a_gap(tmp_path):
    """Each record is there once and in order, over as many segments as it takes."""
    journal = Journal(Room(tmp_path, segment_bytes=4096), node="n", number=0)
    names = [f"request-{number}" for number in range(200)]

    for name in names:
        journal.intent(intent(name))
        journal.settle(settled(name))
    journal.close()

    assert [name for kind, name in written(tmp_path) if kind == SETTLED] == names
    assert [name for kind, name in written(tmp_path) if kind == INTENT] == names
    assert [each.number for each in segments_in(tmp_path)] == list(range(1, len(segments_in(tmp_path)) + 1))
    assert len(segments_in(tmp_path)) > 5


def test_a_record_that_is_larger_than_a_segment_gets_a_larger_one(tmp_path):
    """A row with a long prompt is written like any other."""
    journal = Journal(Room(tmp_path, segment_bytes=4096), node="n", number=0)
    row = settled("long")
    row.messages = "x" * 20_000

    journal.intent(intent("long"))
    journal.settle(row)
    journal.intent(intent("next"))
    journal.close()

    assert written(tmp_path) == [(INTENT, "long"), (SETTLED, "long"), (INTENT, "next")]


@pytest.mark.row("D-01")
def test_a_full_disk_refuses_requests_and_loses_no_outcome(tmp_path):
    """Without room intents are refused with a 503; what became of those under way is written, then or later."""
    disk, clock = Disk(), Clock()
    journal = Journal(Room(tmp_path, segment_bytes=8192, allocator=disk), node="n", number=0, clock=clock)
    journal.intent(intent("first"))
    disk.is_full = True
    sent = ["first"]

    with pytest.raises(JournalFull, match="No space left") as refused:
        sent_until_refused(journal, sent)
    for name in sent:
        journal.settle(settled(name))

    assert (refused.value.status, refused.value.code) == (503, "ledger_full")
    disk.is_full = False
    clock.now_s += 1.5
    journal.intent(intent("after"))
    journal.close()
    assert [name for kind, name in written(tmp_path) if kind == SETTLED] == sent
    assert written(tmp_path)[-1] == (INTENT, "after")


@pytest.mark.row("D-02", "D-04")
def test_a_journal_that_has_reached_its_limit_refuses_and_recovers(tmp_path):
    """The limit counts the segments of all processes; when some are gone there is room again."""
    clock = Clock()
    room = Room(tmp_path, segment_bytes=8192, max_bytes=4 * 8192)
    journal = Journal(room, node="n", number=0, clock=clock)

    with pytest.raises(JournalFull, match="limit"):
        sent_until_refused(journal, [])

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= room.max_bytes
    for name in segments_in(tmp_path)[:2]:
        (tmp_path / name.file).unlink()
    with pytest.raises(JournalFull):
        journal.intent(intent("too early to look again"))
    clock.now_s += 1.5
    journal.intent(intent("after"))
    journal.close()
    assert written(tmp_path)[-1] == (INTENT, "after")


def test_texts_that_no_file_can_hold_do_not_lose_a_row(tmp_path):
    """Half a character, or a number beyond all numbers, is written as near as can be."""
    journal = Journal(Room(tmp_path), node="n", number=0)
    row = settled("a\ud83d", tags=("b\udc00",))
    row.metadata = {"strange\ud800": {1, 2}}
    row.prompt_tokens = 2**80

    journal.settle(row)
    journal.close()

    assert written(tmp_path) == [(SETTLED, "a?")]


def test_two_processes_of_one_number_have_journals_of_their_own(tmp_path):
    """A worker that follows another under its number does not write into what that one left."""
    first = Journal(Room(tmp_path), node="n", number=3, wall_ns=lambda: 1_000_000)
    second = Journal(Room(tmp_path), node="n", number=3, wall_ns=lambda: 2_000_000)

    first.intent(intent("a"))
    second.intent(intent("b"))
    first.close()
    second.close()

    assert len({name.run for name in segments_in(tmp_path)}) == 2
    assert written(tmp_path) == [(INTENT, "a"), (INTENT, "b")]
