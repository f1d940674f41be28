"""The command boundary: whatever goes wrong ends as one sentence and an exit code."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_main_reports_the_unexpected_in_one_sentence(root, tmp_path, debug):
    """No traceback, unless debugging was asked for."""
    # A library that breaks while it is imported: nobody expects that.
    (tmp_path / "platformdirs.py").write_text("raise RuntimeError('no folders today')\n")
    done = subprocess.run(
        [sys.executable, "-m", "proxy_cli", *debug, "--model", "openai/m"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llmproxy: internal error: RuntimeError: no folders today")
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
