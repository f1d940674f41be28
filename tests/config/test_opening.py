"""Getting at the bytes of a file, or saying at once why not."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy_cli.config.opening import LARGEST, Unreadable, file_name, slurp
from proxy_cli.config.source import read

NOBODY = 65534
READ = """
import os, pathlib, sys
from proxy_cli.config.source import read
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({nobody})
    os.setuid({nobody})
found, problems = read(pathlib.Path(sys.argv[1]))
print(found, *problems)
"""


def refusal(path: Path) -> str:
    with pytest.raises(Unreadable) as why:
        slurp(path)
    assert why.value.cure
    return why.value.message


def test_a_file_is_read_whole_with_its_permissions(tmp_path):
    """Also through a symbolic link, as containers mount their configs."""
    path = tmp_path / "c.yaml"
    path.write_bytes(b"a: 1\n" * 1000)
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)

    opened = slurp(link)

    assert opened.data == b"a: 1\n" * 1000
    assert opened.mode == 0o640


def test_the_size_limit_is_exact(tmp_path):
    """The last byte that fits is read, one more is refused."""
    path = tmp_path / "c.yaml"
    path.write_bytes(b" " * LARGEST)
    assert len(slurp(path).data) == LARGEST

    path.write_bytes(b" " * (LARGEST + 1))

    assert refusal(path) == "the file is larger than 5 MiB"


@pytest.mark.row("C-50")
def test_a_missing_file_is_told_with_its_neighbours(tmp_path):
    """The likely meaning of a slip lies beside it."""
    (tmp_path / "config.yml").write_text("a: 1")
    (tmp_path / "note.txt").write_text("a: 1")

    with pytest.raises(Unreadable) as why:
        slurp(tmp_path / "config.yaml")

    assert why.value.message == "no such file"
    assert "config.yml" in why.value.cure
    assert "note.txt" not in why.value.cure


@pytest.mark.row("C-50")
def test_a_missing_folder_is_told(tmp_path):
    """There are no neighbours to name."""
    assert refusal(tmp_path / "none" / "c.yaml") == "no such file"


@pytest.mark.row("C-50")
def test_a_directory_is_told_as_one(tmp_path):
    """A mount that found no file makes a directory."""
    assert refusal(tmp_path) == "this is a directory, not a file"


@pytest.mark.row("C-50")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    """Opening it in the usual way would hang for ever."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    assert refusal(path) == "this is a pipe, not a file"


@pytest.mark.row("C-50")
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(path):
    """One of them has no end."""
    assert refusal(Path(path)) == "this is a device, not a file"


@pytest.mark.row("C-50")
def test_a_socket_is_refused(tmp_path, monkeypatch):
    """The system itself refuses to open one."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")

        assert refusal(tmp_path / "s") == "this is a socket, not a file"


@pytest.mark.row("C-50")
def test_a_broken_link_is_told_as_one(tmp_path):
    """The name exists, what it leads to does not."""
    path = tmp_path / "c.yaml"
    path.symlink_to("nowhere.yaml")

    assert refusal(path) == "the file is a symbolic link that leads nowhere"


@pytest.mark.row("C-50")
def test_a_link_to_itself_is_told_as_one(tmp_path):
    """A loop has no end to read."""
    path = tmp_path / "c.yaml"
    path.symlink_to("c.yaml")

    assert refusal(path) == "the symbolic link leads back to itself"


@pytest.mark.row("C-50")
@pytest.mark.parametrize(
    ("path", "words"),
    [("x" * 300, "file name too long"), ("/dev/null/c.yaml", "not a directory"), ("a\0b", "no path may hold")],
)
def test_other_bad_paths_are_told_in_the_systems_words(path, words):
    """Whatever is wrong with the path, there is a sentence."""
    assert words in refusal(Path(path))


@pytest.mark.row("C-50")
def test_an_unreadable_file_is_told_by_its_name(tmp_path):
    """Read by a user who may not: no traceback, one sentence."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path(folder.anchor):
            folder.chmod(folder.stat().st_mode | 0o055)
    path = tmp_path / "c.yaml"
    path.write_text("a: 1")
    path.chmod(0)

    done = subprocess.run(
        [sys.executable, "-c", READ.format(nobody=NOBODY), str(path)], capture_output=True, text=True, timeout=30
    )

    assert done.stdout == (
        f"None {path}:1:1: the file may not be read by this user - change its permissions or the user\n"
    )
    assert done.stderr == ""


@pytest.mark.row("C-50")
def test_every_name_of_a_file_can_be_printed():
    """Bytes that are no UTF-8 and control characters are escaped; Japanese is not."""
    assert file_name(Path(os.fsdecode(b"caf\xe9.yaml"))) == "caf\\xe9.yaml"
    assert file_name(Path("a\nb\x1b[31m")) == "a\\x0ab\\x1b[31m"
    assert file_name(Path("設定/構成.yaml")) == "設定/構成.yaml"


@pytest.mark.row("C-50")
def test_a_file_with_an_unprintable_name_is_read(tmp_path):
    """Its problems can be printed all the same."""
    path = tmp_path / os.fsdecode(b"caf\xe9.yaml")
    path.write_text("a: 1\na: 2\n")

    problems = read(path)[1]

    assert str(problems[0]).encode()
    assert "caf\\xe9.yaml:2:1" in str(problems[0])
