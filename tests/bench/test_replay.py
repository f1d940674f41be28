"""A start with a journal that no database has yet."""

import subprocess
import sys

import pytest


@pytest.mark.row("K-09")
@pytest.mark.timeout(60)
def test_budgets_are_right_at_once_after_a_start_with_a_long_journal(root):
    """A key that has spent its budget in the journal is refused by the first answer, and another one is served."""
    command = [sys.executable, "-m", "bench.replay", "--rows", "5000"]

    ended = subprocess.run(command, cwd=root, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "is answered 422" in ended.stdout
    assert "is answered 200" in ended.stdout
