"""Where the log's bytes go: files in one go, pipes in whole lines, everything else through the stream."""

import io
import os
import select
import socket

import pytest

from proxy_cli.telemetry.output import output_to

LINES = [f"{number} {'日本' * 20}" for number in range(200)]
WHOLE = "".join(f"{line}\n" for line in LINES)


def test_a_file_takes_everything_and_is_quick(tmp_path):
    """What was written to the stream before stays before; characters are whole."""
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        stream.write("before\n")
        output = output_to(stream)
        output.put(LINES)

        assert output.quick
        assert (tmp_path / "log").read_text("utf-8") == "before\n" + WHOLE


def test_a_pipe_gets_whole_lines_that_it_takes_at_once():
    """No write is longer than what POSIX promises not to mix, so that several processes may share a pipe."""
    reading, writing = os.pipe()
    pieces = []
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        output = output_to(stream)
        for begin in range(0, len(LINES), 50):
            output.put(LINES[begin : begin + 50])
            pieces.append(os.read(reading, 65536))
    os.close(reading)

    assert not output.quick
    assert b"".join(pieces).decode() == WHOLE


def test_pieces_for_a_pipe_are_at_most_pipe_buf(writes):
    """Each single write fits, and ends with a line end."""
    assert len(writes) > 1
    assert all(len(piece) <= select.PIPE_BUF and piece.endswith(b"\n") for piece in writes)


@pytest.fixture
def writes():
    """What a socket pair that keeps messages apart has got, write by write."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, os.fdopen(os.dup(ours.fileno()), "w", encoding="utf-8") as stream:
        output_to(stream).put(LINES[:100])
        ours.shutdown(socket.SHUT_WR)
        return list(iter(lambda: theirs.recv(1 << 20), b""))


def test_a_stream_without_a_descriptor_is_written_as_text():
    """A buffer in memory, as tests and embedding programs have it."""
    stream = io.StringIO()

    output = output_to(stream)
    output.put(LINES)

    assert stream.getvalue() == WHOLE
    assert not output.quick


@pytest.mark.row("O-10")
def test_a_full_disk_is_an_error_that_the_sink_knows():
    """/dev/full takes nothing."""
    with open("/dev/full", "w", encoding="utf-8") as stream:  # noqa: PTH123 - a device, not a path of ours
        output = output_to(stream)

        assert output.quick
        with pytest.raises(OSError, match="No space left"):
            output.put(["line"])


def test_what_an_output_cannot_show_is_spelled_out(tmp_path):
    """A terminal or file of another encoding gets escapes, never an exception."""
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        output_to(stream).put(["日"])

    assert (tmp_path / "log").read_bytes() == b"\\u65e5\n"
