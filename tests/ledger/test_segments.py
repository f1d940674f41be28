"""Files of the journal."""

import errno
import os
import subprocess
import sys

import pytest

from proxy_cli.ledger.framing import SETTLED, START, Stop, frame
from proxy_cli.ledger.segments import (
    SegmentName,
    bytes_in,
    hold,
    is_held,
    leftover,
    make_segment,
    read,
    segments_in,
)

NAME = SegmentName("node-0-1795400000000000", 1)


def test_segments_are_listed_as_they_were_written(tmp_path):
    """The tenth comes after the ninth, and other files are none."""
    names = [SegmentName("n-0-5", number) for number in (10, 9, 1)]
    for name in names:
        (tmp_path / name.file).touch()
    (tmp_path / "n-0-5.lock").touch()
    (tmp_path / "n-0-5.new").touch()

    assert segments_in(tmp_path) == sorted(names)
    assert segments_in(tmp_path / "missing") == []


def test_a_new_segment_is_private_and_has_its_room(tmp_path):
    """Nobody else may read it, and its place on the disk is taken before anything is written."""
    make_segment(tmp_path / NAME.file, 64 * 1024).close()

    status = (tmp_path / NAME.file).stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_blocks * 512 >= 64 * 1024
    assert bytes_in(tmp_path) == 64 * 1024


@pytest.mark.row("D-01")
def test_a_segment_without_room_leaves_nothing(tmp_path):
    """Where the disk is full there is no half-made file."""

    def full(descriptor, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        make_segment(tmp_path / NAME.file, 4096, full)

    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held_as_long_as_its_process_lives(tmp_path):
    """A process that was killed holds nothing; one that lives does, stopped or not."""
    path = tmp_path / "run.lock"
    code = "import sys,pathlib,time; from proxy_cli.ledger.segments import hold; hold(pathlib.Path(sys.argv[1]))"
    child = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print('held', flush=True); time.sleep(60)", str(path)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()

    with pytest.raises(BlockingIOError):
        hold(path)
    assert is_held(path)
    child.kill()
    child.wait()
    child.stdout.close()

    assert not is_held(path)
    assert not is_held(tmp_path / "missing.lock")


def test_a_long_segment_is_read_in_pieces(tmp_path):
    """Records come whole though they lie across the pieces, and one that is longer than a piece does, too."""
    sizes = [100_000, 200_000, 600_000, 5]
    memory = make_segment(tmp_path / NAME.file, 1024 * 1024)
    content = b"".join(frame(SETTLED, bytes([size % 251]) * size) for size in sizes)
    memory[START : START + len(content)] = content
    memory.close()

    pieces = list(read(tmp_path / NAME.file, 0))

    assert [len(each.data) for records, _ in pieces for each in records] == sizes
    assert pieces[-1][1] is Stop.END


def test_a_file_without_the_mark_is_not_read(tmp_path):
    """What another program, or another version, wrote is not taken for records."""
    (tmp_path / NAME.file).write_bytes(b"something else entirely" + frame(SETTLED, b"x"))

    assert list(read(tmp_path / NAME.file, 0)) == [([], Stop.TORN)]


def test_a_segment_that_is_full_to_the_last_bytes_is_complete(tmp_path):
    """Where not even a seal has room nothing can follow."""
    record = frame(SETTLED, b"x" * 20)
    memory = make_segment(tmp_path / NAME.file, START + len(record) + 5)
    memory[START : START + len(record)] = record
    memory.close()

    assert [stop for _, stop in read(tmp_path / NAME.file, 0)] == [Stop.SEAL]


def test_what_was_never_written_is_not_left_over(tmp_path):
    """Zeros at the end of a segment are its room."""
    (tmp_path / "x").write_bytes(b"abcdef" + bytes(50))

    assert leftover(tmp_path / "x", 2) == 4
