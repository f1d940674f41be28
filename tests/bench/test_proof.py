"""The proof itself, in small and whole."""

import subprocess
import sys

import pytest


def proved(root, *words):
    """What a proof has said, and its exit code."""
    command = [sys.executable, "-m", "bench.proof", *words]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return ended.stdout + ended.stderr, ended.returncode


@pytest.mark.row("K-01", "K-05")
@pytest.mark.timeout(120)
def test_the_ledger_is_right_after_a_few_kills_under_load(root):
    """llmproxy with its workers is killed three times while it serves, and every sentence holds."""
    said, code = proved(root, "--kills", "3", "--longest", "0.5", "--seed", "11")

    assert code == 0, said
    assert "lost 0   duplicate 0   phantom 0   wrong cost 0" in said
    assert "BROKEN" not in said


@pytest.mark.deep
@pytest.mark.row("K-01", "K-02", "B-05", "B-10")
@pytest.mark.timeout(600)
def test_the_ledger_is_right_after_many_kills_under_load(root):
    """The same with thirty, at random moments and at named places, of one worker and of everything."""
    said, code = proved(root, "--kills", "30", "--seed", "11")

    assert code == 0, said
