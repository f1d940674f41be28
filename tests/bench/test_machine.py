"""What the machine tells: /proc's lines, trees of processes, tools."""

import os
import subprocess
import sys
import time

import pytest

from bench import machine


def test_a_name_with_blanks_and_parentheses_hides_no_field():
    """The fields of a process are counted from behind its name, whatever that is."""
    text = "42 (odd) name (x) S 7 0 0 0 0 0 0 0 0 0 100 50 20 10 0 0 1 0 0 0 3 0 0"

    process = machine.parse_stat(text)

    assert process.parent == 7
    assert process.cpu_s == pytest.approx(180 * machine.TICK_S)
    assert process.rss_bytes == 3 * machine.PAGE_BYTES


def test_a_tree_holds_the_children_of_children():
    """A grandchild belongs to the tree, and its time counts."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        until = time.monotonic() + 10
        while len(machine.tree(child.pid)) < 2 and time.monotonic() < until:
            time.sleep(0.01)

        found = machine.tree(child.pid)

        child.communicate(b"\n")
    assert child.pid in found
    assert len(found) == 2
    assert os.getpid() not in found


def test_a_tree_of_nobody_is_empty():
    """A process that is gone has no tree, no time and no memory."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    assert machine.tree(child.pid) == {}
    assert machine.cpu_s(child.pid) == 0
    assert machine.rss_bytes(child.pid) == 0


def test_a_missing_tool_is_named_with_its_cure():
    """The sentence says all that is missing, and the command that brings it."""
    with pytest.raises(
        machine.MissingTool, match=r"no-such-a and no-such-b not found: `apt-get install no-such-a no-such-b`"
    ):
        machine.find_tools(["no-such-b", "no-such-a"])
