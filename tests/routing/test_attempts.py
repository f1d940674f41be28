from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import BackendError, BackendUnreachable
from proxy_cli.routing.attempts import Attempts, Router, shuffled
from proxy_cli.routing.table import Table
from tests.routing.test_table import deployment


def test_another_deployment_is_asked_when_nothing_was_sent():
    """An unreachable backend is not the caller's problem while the group has another."""
    attempts = Attempts([deployment("a", id="1"), deployment("a", id="2")])

    first = attempts.next()
    second = attempts.next(BackendUnreachable("refused"))

    assert (first.id, second.id, attempts.made) == ("1", "2", 2)


def test_a_backend_that_has_answered_is_not_asked_around():
    """What a backend says of a request is the answer, even if it is an error."""
    attempts = Attempts([deployment("a", id="1"), deployment("a", id="2")])
    attempts.next()

    with pytest.raises(BackendError, match="no"):
        attempts.next(BackendError(500, "no"))


def test_the_last_failure_is_raised_when_none_is_left():
    """The caller learns why the last one failed."""
    attempts = Attempts([deployment("a")])
    attempts.next()

    with pytest.raises(BackendUnreachable, match="refused"):
        attempts.next(BackendUnreachable("refused"))


@given(st.integers(1, 6), st.integers())
def test_no_deployment_is_tried_twice(count, seed):
    """Whatever fails, each deployment of the group is asked at most once, and all are."""
    table = Table([deployment("a", id=str(number)) for number in range(count)])
    attempts = Router(table, Random(seed)).attempts("a")
    tried = [attempts.next().id]
    while True:
        try:
            tried.append(attempts.next(BackendUnreachable("refused")).id)
        except BackendUnreachable:
            break

    assert sorted(tried) == sorted(str(number) for number in range(count))


def test_weights_decide_how_often_one_comes_first():
    """A weight of 3 comes first three times as often as a weight of 1."""
    random = Random(7)
    pair = [deployment("a", id="heavy", weight=3.0), deployment("a", id="light", weight=1.0)]

    first = Counter(shuffled(pair, random)[0].id for _ in range(4000))

    assert 0.70 < first["heavy"] / 4000 < 0.80


def test_a_weight_of_zero_comes_last():
    """A deployment with no weight is asked only when nothing else is left."""
    pair = [deployment("a", id="none", weight=0.0), deployment("a", id="some", weight=0.01)]

    assert all(shuffled(pair, Random(seed))[0].id == "some" for seed in range(100))
