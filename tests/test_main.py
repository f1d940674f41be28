"""The command boundary: whatever goes wrong ends as one sentence and an exit code."""

import subprocess
import sys

import pytest

# The working folder is gone: nobody expects that, and no command asks for it.
NO_FOLDER = """
import os, sys, tempfile
from proxy_cli.__main__ import run
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_main_reports_the_unexpected_in_one_sentence(root, debug):
    """No traceback, unless debugging was asked for."""
    done = subprocess.run(
        [sys.executable, "-c", NO_FOLDER, *debug, "--model", "openai/m"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root)},
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llmproxy: internal error: FileNotFoundError: ")
    assert ("Traceback" in done.stderr) == bool(debug)
    assert debug or done.stderr.count("\n") == 1


def test_main_ends_quietly_when_its_reader_leaves(root):
    """`llmproxy check --schema | head -1`: a closed pipe is no error of ours."""
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy_cli", "check", "--schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert process.stdout is not None
    process.stdout.close()

    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) == 1
