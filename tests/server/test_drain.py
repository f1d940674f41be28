"""The way out of a worker, decided."""

from proxy_cli.server.drain import Drain, Grace


class Turned:
    """A clock that is turned by hand."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def test_drain_is_ready_until_it_drains():
    """Readiness is asked of it."""
    drain = Drain(Turned())

    before = drain.is_ready()
    drain.draining = True

    assert (before, drain.is_ready()) == (True, False)


def test_whole_wait_is_for_those_who_go_by_readiness_or_come_from_elsewhere():
    """A developer on this machine waits for nothing; a load balancer has a minute's credit."""
    clock = Turned()
    drain = Drain(clock)

    nobody = drain.has_whole_wait(reached_from_elsewhere=False)
    elsewhere = drain.has_whole_wait(reached_from_elsewhere=True)
    drain.is_ready()
    clock.now_s += 59
    lately = drain.has_whole_wait(reached_from_elsewhere=False)
    clock.now_s += 2
    long_ago = drain.has_whole_wait(reached_from_elsewhere=False)

    assert (nobody, elsewhere, lately, long_ago) == (False, True, True, False)


def test_streams_have_more_time_than_other_requests():
    """While one is under way, the others may go on too."""
    grace = Grace(plain_s=60, stream_s=600)

    assert grace.left_s(59, has_streams=False) == 1
    assert grace.left_s(61, has_streams=False) < 0
    assert grace.left_s(61, has_streams=True) == 539


def test_longest_way_out_is_the_wait_and_the_longer_of_both():
    """The parent waits at least as long as its workers."""
    assert Grace(wait_s=None, plain_s=60, stream_s=600).longest_s == 605
    assert Grace(wait_s=20, plain_s=60, stream_s=5).longest_s == 80
