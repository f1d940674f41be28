"""How many files may be open."""

import subprocess
import sys

import pytest

from proxy_cli.processes.open_files import warning

RAISE = "from proxy_cli.processes.open_files import raise_limit; import resource as r; "
PRINT = "print(raise_limit()); print(r.getrlimit(r.RLIMIT_NOFILE)[0])"


def said(root, limits):
    """What a process with these limits (soft, hard) says, and its soft limit afterwards."""
    program = f"{RAISE}r.setrlimit(r.RLIMIT_NOFILE, {limits}); {PRINT}"
    run = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    sentence, limit = run.stdout.splitlines()
    return sentence, int(limit)


def test_limit_is_raised_to_what_is_allowed(root):
    """Without a word: there is nothing to do for anybody."""
    assert said(root, (256, 2048)) == ("None", 2048)


@pytest.mark.row("O-06")
def test_low_limit_is_a_clear_warning(root):
    """With the number, what it comes to, and the cure."""
    sentence, limit = said(root, (64, 64))

    assert limit == 64
    assert sentence == (
        "this process may open 64 files only, enough for some 16 requests at a time; raise the limit: ulimit -n 65536"
    )


@pytest.mark.parametrize(("limit", "is_few"), [(1, True), (1023, True), (1024, False)])
def test_warning_is_for_few_files_only(limit, is_few):
    """Somebody has chosen the larger ones."""
    assert (warning(limit) is not None) is is_few
