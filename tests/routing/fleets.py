"""A fleet with a clock that is turned by hand, for tests."""

from random import Random

from proxy_cli.routing.fleet import Fleet
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Backend, Deployment

START_S = 6000.0  # the beginning of a minute


class Hands:
    """A clock that stands until it is turned."""

    def __init__(self, now_s=START_S):
        self.now_s = now_s

    def __call__(self):
        return self.now_s

    def turn(self, seconds):
        """Let some time pass."""
        self.now_s += seconds


def deployment(name="a", **fields):
    """A deployment of that id."""
    return Deployment(id=name, group="g", model="m", provider="openai", backend=Backend("http", "h", 80), **fields)


def fleet(clock, *, shared=None, **rules):
    """A fleet of one process, or of several over the same memory, whose chances are always the same."""
    return Fleet(Rules(**rules), clock=clock, random=Random(1), shared=shared)
