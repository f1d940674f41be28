"""Places at which a process ends itself."""

import subprocess
import sys

import pytest

from proxy_cli.ledger.crash import POINTS, CrashPoint


def test_without_the_variable_nothing_ends():
    """Every place is passed."""
    crash = CrashPoint({})

    for point in POINTS:
        crash.at(point)

    assert crash.point == ""


@pytest.mark.row("K-02")
def test_a_process_ends_at_its_place_and_at_its_time():
    """The third time that it comes there it is gone, as if it were killed."""
    code = (
        "from proxy_cli.ledger.crash import CrashPoint\n"
        "crash = CrashPoint({'LLMPROXY_CRASH_AT': 'in_flush:3'})\n"
        "for number in range(5):\n"
        "    crash.at('after_intent')\n"
        "    print(number, flush=True)\n"
        "    crash.at('in_flush')\n"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (ended.stdout.split(), ended.returncode) == (["0", "1", "2"], -9)
