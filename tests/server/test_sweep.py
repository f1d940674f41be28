"""The collector is held back while requests are under way, and comes at last."""

import gc

import pytest

from proxy_cli.server.sweep import BUSY_S, QUIET_S, Sweep


class Now:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.mark.parametrize(
    ("quiet", "since_s", "due"),
    [
        (True, QUIET_S - 1, False),
        (True, QUIET_S, True),
        (False, QUIET_S, False),
        (False, BUSY_S - 1, False),
        (False, BUSY_S, True),
    ],
)
async def test_all_is_looked_through_in_a_quiet_moment_or_at_last(quiet, since_s, due):
    """Not again at once, not while requests are under way, but not never either."""
    now = Now()
    sweep = Sweep(lambda: quiet, now)
    sweep.start()
    try:
        now.s += since_s

        assert sweep.is_due() is due
    finally:
        sweep.stop()


async def test_python_looks_through_young_objects_only_until_it_is_left_to_itself():
    """Of the three generations the first two are collected as ever; at the end all are."""
    before = gc.get_threshold()
    sweep = Sweep(lambda: True, Now())

    sweep.start()
    held_back = gc.get_threshold()
    sweep.stop()

    assert held_back[:2] == before[:2]
    assert held_back[2] > 1000 * before[2]
    assert gc.get_threshold() == before
