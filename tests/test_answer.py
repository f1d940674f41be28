"""What a call comes to, and the place at a deployment that it gives back."""

from proxy_cli.answer import Answer, Held
from proxy_cli.routing.queue import Places
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Deployment, Usage
from tests.routing.fleets import Hands, deployment, fleet


def answered(**more) -> Answer:
    return Answer(status=200, headers=(), deployment=deployment(), waited_s=0.1, **more)


def test_a_place_is_given_back_once_however_often_an_answer_is_closed():
    """Whoever ends a request closes its answer, and so does whoever ends its stream."""
    clock = Hands()
    states = fleet(clock)
    one: Deployment = deployment(max_parallel=1)
    places = Places(states, Rules(), clock=clock)
    state = states.state(one)
    assert places.take_now([one], 0) is one
    answer = answered(held=Held(one, state, state.begin(), places))
    assert places.take_now([one], 0) is None

    answer.close()
    answer.close()

    assert state.in_flight == 0
    assert places.take_now([one], 0) is one
    assert places.take_now([one], 0) is None


def test_an_answer_at_the_first_attempt_says_so():
    """Without a history there was one attempt; a whole body is one piece, with the usage that was read in it."""
    usage = Usage(3, 4)

    answer = answered(body=b"12345", plain_usage=usage)

    assert (answer.attempts, answer.seen, answer.usage) == (1, (1, 5), usage)
