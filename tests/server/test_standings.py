"""How a deployment stands: whose word counts first, and what is said of it."""

from random import Random

import pytest

from proxy_cli.errors import BackendError, BackendUnreachable
from proxy_cli.routing.fleet import Fleet, Operator, Probed
from proxy_cli.routing.rules import Rules
from proxy_cli.server.standings import described, spoken, standing
from proxy_cli.shapes import Backend, Deployment

ONE = Deployment(
    id="one",
    group="name",
    model="m",
    provider="openai",
    backend=Backend("http", "gpu", 8000),
    base_path="/v1",
    params={"model": "openai/m"},
)


class Clock:
    """Turned by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    """A clock that stands."""
    return Clock()


@pytest.fixture
def fleet(clock):
    """A fleet of which nothing is known."""
    return Fleet(Rules(), clock=clock, random=Random(1))


def fail_often(fleet):
    """Five failures in a row, as requests meet them."""
    state = fleet.state(ONE)
    for _ in range(5):
        state.begin()
        state.failed(BackendUnreachable("cannot connect to http://gpu:8000"))
        state.end()


def test_what_nothing_is_known_of_is_healthy(fleet, clock):
    """Nobody has a reason against it."""
    assert standing(ONE, fleet, clock()) == ("unknown", True, "", 200)


def test_what_has_answered_is_ready(fleet, clock):
    """Also where nobody looks at it in the background."""
    fleet.state(ONE).succeeded(waited_s=0.1, stream=True)

    assert standing(ONE, fleet, clock()).state == "ready"


@pytest.mark.parametrize("probed", [Probed.READY, Probed.BUSY])
def test_what_was_seen_at_work_is_healthy(fleet, clock, probed):
    """A busy server can be asked."""
    fleet.set_probed("one", probed, "")

    assert standing(ONE, fleet, clock()) == (str(probed), True, "", 200)


@pytest.mark.parametrize("probed", [Probed.DOWN, Probed.LOADING, Probed.DRAINING])
def test_what_was_seen_ill_is_told_with_its_reason(fleet, clock, probed):
    """The reason may be known to another process alone; then the state speaks for itself."""
    fleet.set_probed("one", probed, "because")
    other = Fleet(Rules(), clock=clock, random=Random(1))
    other.set_probed("one", probed, "")

    assert standing(ONE, fleet, clock()) == (str(probed), False, "because", 503)
    assert standing(ONE, other, clock()).why.startswith("it ")


def test_what_rests_is_told_with_its_last_failure(fleet, clock):
    """What requests have met counts as much as a look."""
    fail_often(fleet)

    how = standing(ONE, fleet, clock())

    assert (how.state, how.healthy) == ("resting", False)
    assert "rests for 1 s more: " in how.why
    assert "http://gpu:8000" in how.why


def test_a_refused_key_is_the_reason_whatever_failed_since(fleet, clock):
    """A later failure does not hide what only the operator can mend."""
    state = fleet.state(ONE)
    state.failed(BackendError(403, "no access", code="forbidden"))
    state.failed(BackendError(500, "out of memory", code="500"))

    how = standing(ONE, fleet, clock())

    assert (how.state, how.why) == ("resting", "rests for 60 s more: a refusal of our key (401, 402 or 403)")


def test_the_operator_has_the_first_word(fleet, clock):
    """Whatever else is known of it; and for as long as he said."""
    fail_often(fleet)
    fleet.set_probed("one", Probed.DOWN, "gone")
    fleet.set_operator("one", Operator.DRAINING, clock() + 3600)

    during = standing(ONE, fleet, clock())
    clock.now_s += 3601
    after = standing(ONE, fleet, clock())
    fleet.set_operator("one", Operator.DISABLED, None)

    assert during == ("draining", False, "taken out of use by hand, for 60 min more", 503)
    assert after.state == "down"
    assert standing(ONE, fleet, clock()).why == "taken out of use by hand, until it is resumed"


def test_a_deployment_is_described_as_litellm_names_it():
    """Model with its provider, address, id."""
    assert described(ONE) == {
        "model": "openai/m",
        "model_name": "name",
        "api_base": "http://gpu:8000/v1",
        "model_id": "one",
    }


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59.6, "60 s"), (3600, "60 min"), (7200, "2 h"), (9000, "2 h 30 min"), (604800, "7 days")],
)
def test_times_are_spoken_in_their_largest_units(seconds, words):
    """Nobody wants to read 604800 s."""
    assert spoken(seconds) == words
