"""The proof itself, in small."""

import subprocess
import sys

import pytest


@pytest.mark.deep
@pytest.mark.row("K-01", "B-05", "B-10")
@pytest.mark.timeout(300)
def test_the_ledger_is_right_after_kills_under_load(root):
    """llmproxy with its workers is killed five times while it serves, and every sentence holds."""
    words = [sys.executable, "-m", "bench.proof", "--kills", "5", "--seed", "11"]

    ended = subprocess.run(words, cwd=root, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "lost 0   duplicate 0   phantom 0   wrong cost 0" in ended.stdout
