"""The table of what can be measured: a name, a function, and whether it is part of the comparison with all peers."""

from collections.abc import Callable
from typing import Final, NamedTuple

from bench import latency, plain, starting, streaming
from bench.ground import Run


class Scenario(NamedTuple):
    """One thing to measure."""

    run: Callable[[Run], None]
    for_all: bool  # else, unless asked, only for us and the floor: its aim is an absolute figure


SCENARIOS: Final = {
    "start": Scenario(starting.start, for_all=True),
    "requests": Scenario(plain.requests, for_all=True),
    "latency": Scenario(latency.latency, for_all=True),
    "streams": Scenario(streaming.streams, for_all=True),
    "bigprompt": Scenario(plain.long_prompt, for_all=False),
    "workers": Scenario(plain.workers, for_all=False),
    "paced": Scenario(streaming.paced, for_all=False),
    "idle-streams": Scenario(streaming.idle_streams, for_all=False),
}
