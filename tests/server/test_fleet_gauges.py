"""How deployments stand in the metrics, and what became of calls on their way."""

import asyncio
from dataclasses import replace

import pytest

from proxy_cli.errors import BackendUnreachable, RateLimited
from proxy_cli.hedge import Hedge
from proxy_cli.routing.fleet import Operator, Probed
from proxy_cli.routing.queue import Places
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.table import Table
from proxy_cli.routing.tally import Tally
from proxy_cli.server.fleet_gauges import FleetGauges
from proxy_cli.telemetry.metrics import Metrics
from tests.routing.fleets import Hands, deployment, fleet
from tests.telemetry.test_exposition import samples

MODEL = ("requested_model", "g", "model", "m", "model_id", "a", "api_provider", "openai", "api_base", "http://h")
ONE = ("requested_model", "g", "model_id", "a")


class Watched:
    """Metrics that watch a fleet of which nothing is known."""

    def __init__(self) -> None:
        self.clock = Hands()
        self.fleet = fleet(self.clock)
        self.places = Places(self.fleet, Rules(), clock=self.clock)
        self.tally = Tally()
        self.hedge = Hedge()
        self.metrics = Metrics()
        table = Table([deployment()])
        self.metrics.watch(
            FleetGauges(lambda: table, self.fleet, self.places, self.tally, self.hedge, self.metrics, clock=self.clock)
        )

    def told(self):
        """Every sample as it is now."""
        return samples(self.metrics.exposition())

    def fail(self, which, times=5):
        """Failures in a row, as requests meet them."""
        state = self.fleet.state(which)
        for _ in range(times):
            state.begin()
            state.failed(BackendUnreachable("cannot connect"))
            state.end()


def test_a_deployment_that_rests_is_not_asked_and_its_rest_is_counted():
    """The state is LiteLLM's number for an outage, and 0 again once it has answered; a rest is counted once."""
    watched, one = Watched(), deployment()

    watched.fleet.state(one)
    before = watched.told()
    watched.fail(one)
    resting = watched.told()
    watched.clock.turn(30)
    rested = watched.told()
    state = watched.fleet.state(one)
    state.begin()
    state.succeeded(waited_s=1, stream=False)
    state.end()
    after = watched.told()

    states = [each["litellm_deployment_state", *MODEL] for each in (before, resting, rested, after)]
    assert states == [0, 2, 1, 0]
    assert after["litellm_deployment_failure_responses_total", *MODEL, "exception_status", "502"] == 5
    assert after["litellm_deployment_success_responses_total", *MODEL] == 1
    assert ("litellm_deployment_cooled_down_total", *MODEL) not in before
    assert after["litellm_deployment_cooled_down_total", *MODEL] == 1


def test_what_is_said_of_a_deployment_from_outside_is_in_its_state():
    """Loading and busy are between well and out; what an operator has taken out is not asked."""
    watched, one = Watched(), deployment()
    watched.fleet.state(one)
    found = []

    for probed in (Probed.READY, Probed.BUSY, Probed.LOADING, Probed.DOWN):
        watched.fleet.set_probed("a", probed, "")
        found.append(watched.told()["litellm_deployment_state", *MODEL])
    watched.fleet.set_probed("a", Probed.READY, "")
    watched.fleet.set_operator("a", Operator.DRAINING, None)
    found.append(watched.told()["litellm_deployment_state", *MODEL])

    assert found == [0, 1, 1, 2, 2]


async def test_places_and_those_who_wait_for_them_are_told():
    """Of a deployment with limits what is taken, how many calls wait, and which got no place."""
    watched, one = Watched(), deployment(max_parallel=1)
    held = await watched.places.take([one], caller="x", priority=100, deadline_s=float("inf"), tokens=0)
    waiting = asyncio.create_task(
        watched.places.take([one], caller="x", priority=100, deadline_s=float("inf"), tokens=0)
    )
    await asyncio.sleep(0)

    full = watched.told()
    with pytest.raises(RateLimited):
        await watched.places.take([one], caller="x", priority=100, deadline_s=watched.clock(), tokens=0)
    watched.places.give_back(held)
    watched.places.give_back(await waiting)
    empty = watched.told()

    names = ("llmproxy_deployment_places_taken", "llmproxy_deployment_waiting")
    assert [full[name, *ONE] for name in names] == [1, 1]
    assert [empty[name, *ONE] for name in names] == [0, 0]
    assert empty["llmproxy_queue_refused_total", "requested_model", "g", "reason", "queue_timeout"] == 1


def test_a_deployment_that_is_not_configured_any_more_is_at_nothing():
    """Gauges of one that was forgotten end at zero."""
    watched, one = Watched(), deployment()
    watched.fail(one)
    watched.fleet.state(one).begin()
    assert watched.told()["llmproxy_deployment_in_flight", *ONE] == 1

    watched.fleet.state(one).end()
    watched.fleet.keep(())

    found = watched.told()
    assert found["llmproxy_deployment_in_flight", *ONE] == 0
    assert found["litellm_deployment_state", *MODEL] == 0
    assert found["litellm_deployment_cooled_down_total", *MODEL] == 1


def test_rests_of_one_that_was_forgotten_and_has_come_back_are_counted_on():
    """A deployment that a reload takes out and another brings back begins anew; the counter does not."""
    watched = Watched()
    watched.fail(deployment())
    watched.told()
    watched.fleet.keep(())
    watched.told()

    watched.fail(deployment())

    assert watched.told()["litellm_deployment_cooled_down_total", *MODEL] == 2


def test_a_wildcard_is_one_deployment_whatever_callers_ask_for():
    """Names that callers made up are in no label, and no rest is counted again under another one."""
    watched = Watched()

    for name in ("one", "two", "three"):
        watched.fail(replace(deployment(), model=name))
        watched.told()

    found = {key: value for key, value in watched.told().items() if key[0].startswith("litellm_deployment")}
    assert found == {
        ("litellm_deployment_state", *MODEL): 2,
        ("litellm_deployment_cooled_down_total", *MODEL): 1,
        ("litellm_deployment_failure_responses_total", *MODEL, "exception_status", "502"): 15,
    }


def test_what_became_of_calls_is_counted_by_name():
    """Retries, those that were too many, fallbacks of both ends and second tries, each once."""
    watched = Watched()
    tally = watched.tally
    tally.retries["chat"] += 2
    tally.refused_retries["chat"] += 1
    watched.told()
    tally.retries["chat"] += 1
    tally.good_fallbacks["chat", "small"] += 1
    tally.failed_fallbacks["chat", "other"] += 1
    watched.hedge.second_tries = 4

    found = watched.told()

    assert found["llmproxy_retries_total", "requested_model", "chat"] == 3
    assert found["llmproxy_retries_refused_total", "requested_model", "chat"] == 1
    fallback = ("requested_model", "chat", "fallback_model")
    assert found["litellm_deployment_successful_fallbacks_total", *fallback, "small"] == 1
    assert found["litellm_deployment_failed_fallbacks_total", *fallback, "other"] == 1
    assert found["llmproxy_hedges_total",] == 4
