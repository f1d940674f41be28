"""The file on its disk: made with care, never made anew where there has been one."""

import os

import pytest

from proxy_cli.store.failures import NoPlace, StoreProblem
from proxy_cli.store.place import alone_with, file_system, identity, lock_file, make_file, note_made

NOBODY = 65534
MOUNTS = """\
overlay / overlay rw 0 0
server:/export /mnt/share nfs4 rw 0 0
/dev/sda1 /mnt/share/local ext4 rw 0 0
//nas/c /mnt/my\\040disk cifs rw 0 0
"""


def make(path):
    """What a start does with the file; whether it is a new one."""
    with alone_with(path) as lock:
        is_new = make_file(path, lock)
        if is_new:
            path.write_bytes(b"SQLite format 3\x00" + bytes(84))
        note_made(lock)
        return is_new


def test_folder_and_file_are_for_their_owner_alone(tmp_path):
    """Digests of keys and prompts are in there."""
    path = tmp_path / "a" / "b" / "llmproxy.db"

    assert make(path) is True
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == lock_file(path).stat().st_mode & 0o777 == 0o600
    assert make(path) is False


@pytest.mark.row("D-03")
def test_a_database_that_is_missing_is_not_made_anew(tmp_path):
    """An empty one would refuse every key, and nobody would know why."""
    path = tmp_path / "llmproxy.db"
    make(path)
    path.unlink()

    with pytest.raises(StoreProblem, match=r"is missing, but there has been one before.*llmproxy\.db\.lock"):
        make(path)

    assert not path.exists()


@pytest.mark.row("D-03")
def test_a_database_that_has_become_empty_is_told(tmp_path):
    """A full disk or a failed restore leaves a file of 0 bytes."""
    path = tmp_path / "llmproxy.db"
    make(path)
    path.write_bytes(b"")

    with pytest.raises(StoreProblem, match=r"is empty \(0 bytes\)"):
        make(path)


def test_whoever_wants_an_empty_one_gets_it(tmp_path):
    """The sentence says which file to remove."""
    path = tmp_path / "llmproxy.db"
    make(path)
    path.unlink()
    lock_file(path).unlink()

    assert make(path) is True


@pytest.mark.row("K-06")
def test_a_file_that_was_made_and_not_filled_is_used(tmp_path):
    """Whoever died between the two has left nothing that could be lost."""
    path = tmp_path / "llmproxy.db"
    with alone_with(path) as lock:
        make_file(path, lock)

    assert make(path) is True


@pytest.mark.row("D-03")
def test_a_file_of_something_else_is_left_alone(tmp_path):
    """A path that was mistyped must not cost anybody their file."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear database, ...")

    with pytest.raises(StoreProblem, match="is no SQLite database"):
        make(path)

    assert path.read_text() == "Dear database, ..."


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path):
    """With the path and what the system says of it."""
    with pytest.raises(NoPlace, match="directory"):
        make(tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    """A file in the way of the folder is as good as a disk that can only be read."""
    (tmp_path / "file").write_text("")

    with pytest.raises(NoPlace, match="LLMPROXY_DATA_DIR"):
        make(tmp_path / "file" / "folder" / "llmproxy.db")


def test_without_a_home_there_is_no_place(tmp_path, monkeypatch):
    """A ~ that stands for nothing must not become a folder of that name."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(NoPlace, match="no home"):
        make(type(tmp_path)("~/.local/share/llmproxy/llmproxy.db"))

    assert list(tmp_path.iterdir()) == []


def test_a_second_process_waits_and_then_says_so(tmp_path):
    """One at a time changes the database; the wait has an end."""
    path = tmp_path / "llmproxy.db"

    with alone_with(path):
        with pytest.raises(StoreProblem, match="by another process"):
            with alone_with(path, wait_s=0.1):
                pytest.fail("two at once")


def test_another_file_at_the_path_has_another_identity(tmp_path):
    """A file that was replaced is not the one that was opened."""
    path = tmp_path / "a"
    path.write_text("x")
    first = identity(path)
    (tmp_path / "b").write_text("x")
    (tmp_path / "b").rename(path)

    assert identity(path) != first
    assert identity(tmp_path / "none") is None


@pytest.mark.row("D-03")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/a.db", "overlay"),
        ("/mnt/share/a.db", "nfs4"),
        ("/mnt/share/local/a.db", "ext4"),
        ("/mnt/my disk/a.db", "cifs"),
        ("/mnt/shared/a.db", "overlay"),
    ],
)
def test_the_file_system_of_a_path_is_known(tmp_path, path, kind):
    """The longest folder that a path lies in says it."""
    assert file_system(type(tmp_path)(path), MOUNTS) == kind


@pytest.mark.row("D-03")
@pytest.mark.parametrize(("is_there", "kind"), [(True, StoreProblem), (False, NoPlace)])
def test_a_file_of_somebody_else_is_told_and_not_passed_over(tmp_path, is_there, kind):
    """Where there is a database already, it is not for want of a place."""
    if os.geteuid() != 0:
        pytest.skip("only root can act for two users")
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    for each in (tmp_path, *tmp_path.parents[:3]):
        each.chmod(0o755)
    path = folder / "llmproxy.db"
    if is_there:
        make(path)

    os.seteuid(NOBODY)
    try:
        with pytest.raises(StoreProblem, match="Permission denied") as problem:
            make(path)
    finally:
        os.seteuid(0)

    assert type(problem.value) is kind
