import asyncio
import math
from random import Random

import msgspec
import pytest

from proxy_cli.access.budgets import ProcessBudget
from proxy_cli.answer import Answer
from proxy_cli.errors import BackendError, BackendUnreachable, BudgetExceeded, StreamOptionsRefused, UnknownModel
from proxy_cli.gateway import Gateway
from proxy_cli.hedge import Hedge
from proxy_cli.routing.fleet import Fleet
from proxy_cli.routing.queue import Places
from proxy_cli.routing.router import Router
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.table import Table
from proxy_cli.shapes import Call, Controls, Headers, Operation, PlainAnswer, Record, Timeouts, UpstreamRequest, Usage
from tests.routing.test_table import BACKEND, deployment
from tests.test_relay import Reader, Reply


class Provider:
    """Prepares a request that says what was asked of it, and reads what it is told to."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.calls = []

    def prepare(self, call, deployment, *, ask_usage):
        self.calls.append(call)
        self.asked.append((deployment.id, ask_usage))
        return UpstreamRequest(backend=BACKEND, target="/", headers=(), body=b"", timeouts=Timeouts())

    def read(self, call, deployment, status, headers, body):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return PlainAnswer(200, (), b"{}", answer)

    def stream_reader(self, call, deployment):
        return Reader()

    def reply_headers(self, headers):
        return headers


class Upstream:
    """Sends nothing: each turn gives the next reply or raises it."""

    def __init__(self, *replies):
        self.replies = list(replies)

    async def send(self, request):
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


class WaitingUpstream:
    """Every reply takes a turn of the event loop."""

    async def send(self, request):
        await asyncio.sleep(0)
        return Reply()


_RULES = Rules()


def gateway(provider, upstream, *deployments, budget=None, rules=_RULES, clock=lambda: 0.0, hedge=None):
    fleet = Fleet(rules, clock=clock, random=Random(1))
    table = Table(deployments or (deployment("a", id="1"),))
    return Gateway(
        router=Router(table, fleet, rules, random=Random(1), clock=clock, active=lambda: 1),
        places=Places(fleet, rules, clock=clock),
        providers=lambda _deployment: provider,
        upstream=upstream,
        budget=ProcessBudget(budget, 422),
        clock=clock,
        hedge=hedge,
    )


def call(model="a", stream=False):
    return Call(request_id="r", operation=Operation.CHAT, model=model, body=b"{}", stream=stream)


class EventReply(Reply):
    headers: Headers = (("content-type", "text/event-stream; charset=utf-8"),)


def cost_of(heart: Gateway, made: Call, answer: Answer) -> float | None:
    """What settling an answer puts down as its price."""
    record = Record(request_id="r", route="/v1/chat/completions")
    heart.settle(made, answer, record)
    return record.cost_usd


async def test_a_call_is_answered_by_its_deployment():
    """Admission, a deployment, the backend, the answer."""
    provider = Provider(Usage(1, 2))

    answer = await gateway(provider, Upstream(Reply())).answer(call())

    assert (answer.status, answer.usage, answer.attempts) == (200, Usage(1, 2), 1)
    assert answer.history is None


async def test_an_unreachable_backend_gives_the_next_one_its_turn():
    """Attempts are counted."""
    provider = Provider(None)
    pair = (deployment("a", id="1"), deployment("a", id="2"))

    answer = await gateway(provider, Upstream(BackendUnreachable("x"), Reply()), *pair).answer(call())

    assert answer.attempts == 2
    assert {each for each, _ in provider.asked} == {"1", "2"}


async def test_a_refusal_of_stream_options_is_remembered():
    """One more request, without; and never with again."""
    provider = Provider(StreamOptionsRefused(400, "stream_options"), None, None)
    heart = gateway(provider, Upstream(Reply(), Reply(), Reply()))
    before = heart.asks_usage(deployment("a", id="1"))

    await heart.answer(call())
    await heart.answer(call())

    assert provider.asked == [("1", True), ("1", False), ("1", False)]
    assert (before, heart.asks_usage(deployment("a", id="1"))) == (True, False)


async def test_calls_that_are_refused_at_the_same_time_are_all_asked_again():
    """What the first of them has taught is no reason to fail the second, which had been sent before."""
    refusal = StreamOptionsRefused(400, "stream_options")
    provider = Provider(refusal, refusal, None, None)
    heart = gateway(provider, WaitingUpstream())

    answers = await asyncio.gather(heart.answer(call()), heart.answer(call()))

    assert [each.status for each in answers] == [200, 200]
    assert [asked for _, asked in provider.asked] == [True, True, False, False]


async def test_a_refusal_that_was_not_for_our_field_teaches_nothing():
    """A caller who sends a bad `stream_options` of his own does not end the counting of what others use."""
    refusal = StreamOptionsRefused(400, "stream_options.bogus is not known")
    heart = gateway(Provider(refusal, refusal), Upstream(Reply(), Reply()))

    with pytest.raises(StreamOptionsRefused):
        await heart.answer(call())

    assert heart.asks_usage(deployment("a", id="1"))


async def test_a_refusal_that_goes_on_is_a_failure():
    """A backend that complains of stream_options even without them is not asked for ever."""
    refusal = StreamOptionsRefused(400, "stream_options")

    with pytest.raises(StreamOptionsRefused):
        await gateway(Provider(refusal, refusal), Upstream(Reply(), Reply())).answer(call())


async def test_a_failed_reply_is_closed():
    """Whatever goes wrong while it is read, the backend is let go."""
    reply = Reply()

    with pytest.raises(BackendError):
        await gateway(Provider(BackendError(400, "no")), Upstream(reply)).answer(call())

    assert reply.closed


async def test_a_stream_that_fails_before_its_first_bytes_is_closed_and_raised():
    """It is still an HTTP error then."""
    reply = EventReply()

    with pytest.raises(Exception, match="end mark"):
        await gateway(Provider(), Upstream(reply)).answer(call(stream=True))

    assert reply.closed


async def test_a_stream_is_an_answer_once_its_first_bytes_are_here():
    """The relay holds them."""
    answer = await gateway(Provider(), Upstream(EventReply(b"a", b"end"))).answer(call(stream=True))

    assert answer.relay is not None
    assert await answer.relay.next() == b"a"
    answer.close()


async def test_a_stream_without_its_label_is_a_stream():
    """The caller gets events, and the label that the backend forgot."""
    answer = await gateway(Provider(), Upstream(Reply(b"data: 1\n\n", b"end"))).answer(call(stream=True))

    assert answer.relay is not None
    assert answer.headers[0] == ("content-type", "text/event-stream")
    answer.close()


async def test_settling_counts_the_cost_and_the_budget_ends():
    """What is spent is spent; the next call is refused before anything is asked."""
    priced = deployment("a", id="1", rates={"input_cost_per_token": 1.0, "output_cost_per_token": 1.0})
    heart = gateway(Provider(Usage(1, 1)), Upstream(Reply()), priced, budget=2.0)
    answer = await heart.answer(call())

    assert cost_of(heart, call(), answer) == 2.0
    with pytest.raises(BudgetExceeded):
        await heart.answer(call())


async def test_an_unknown_model_asks_nobody():
    """The table says so."""
    with pytest.raises(UnknownModel):
        await gateway(Provider(), Upstream()).answer(call("b"))


@pytest.mark.parametrize("rates", [{"input_cost_per_token": 1.0, "output_cost_per_token": 1.0}, {}])
async def test_an_answer_that_nobody_counted_is_estimated(rates):
    """What was asked and what has come are not free because the backend sends no usage; without prices they are."""
    heart = gateway(Provider(None), Upstream(Reply()), deployment("a", id="1", rates=rates))
    asked = msgspec.structs.replace(call(), fields={"messages": msgspec.Raw(b'"' + b"x" * 398 + b'"')})

    answer = await heart.answer(asked)

    assert cost_of(heart, asked, answer) == (101.0 if rates else None)
    assert answer.usage is None


async def test_a_stream_that_was_left_costs_what_has_come():
    """The usage stands in its last event, which nobody waited for."""
    priced = deployment("a", id="1", rates={"input_cost_per_token": 0.0, "output_cost_per_token": 1.0})
    heart = gateway(Provider(), Upstream(EventReply(b"a", b"b", b"c", b"end")), priced)
    answer = await heart.answer(call(stream=True))
    assert answer.relay is not None
    for _ in range(2):
        await answer.relay.next()
    answer.close()

    assert cost_of(heart, call(stream=True), answer) == 2.0


async def test_a_failure_tells_what_was_tried():
    """So that a caller sees that the proxy has done what it could."""
    pair = (deployment("a", id="1"), deployment("a", id="2"))
    heart = gateway(Provider(), Upstream(*[BackendUnreachable("x")] * 3), *pair)

    with pytest.raises(BackendUnreachable) as caught:
        await heart.answer(call())

    assert dict(caught.value.headers)["x-litellm-attempted-retries"] == "2"
    assert dict(caught.value.headers)["x-litellm-attempted-fallbacks"] == "0"


class SlowUpstream:
    """Of two deployments the first that is asked says nothing, the second answers; who was let go is kept."""

    def __init__(self):
        self.sent = 0
        self.let_go = 0

    async def send(self, request):
        self.sent += 1
        if self.sent == 1:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.let_go += 1
                raise
        return EventReply(b"a", b"end")


async def test_a_late_stream_is_asked_for_at_a_second_deployment():
    """Where hedging is on, and the deployment's own measure says that it is late; the loser is cancelled."""
    upstream, loop = SlowUpstream(), asyncio.get_running_loop()
    pair = (deployment("a", id="1"), deployment("a", id="2"))
    heart = gateway(Provider(), upstream, *pair, rules=Rules(hedges=True), clock=loop.time, hedge=Hedge(1.0))
    states = [heart.router.fleet.state(each) for each in pair]
    for state in states:
        for _ in range(64):
            state.succeeded(waited_s=0.01, stream=True)

    answer = await heart.answer(call(stream=True))
    assert answer.history is not None
    told = (answer.attempts, answer.history.retries, answer.history.maybe_duplicate)
    answer.close()
    await asyncio.sleep(0)

    assert (upstream.sent, upstream.let_go, told) == (2, 1, (2, 0, True))
    assert [state.in_flight for state in states] == [0, 0]


async def test_a_second_try_has_no_more_time_than_is_left_of_the_callers():
    """It begins later than the first, and the caller's limit holds for both together."""
    upstream, provider, loop = SlowUpstream(), Provider(), asyncio.get_running_loop()
    pair = (deployment("a", id="1"), deployment("a", id="2"))
    heart = gateway(provider, upstream, *pair, rules=Rules(hedges=True), clock=loop.time, hedge=Hedge(1.0))
    for each in pair:
        for _ in range(64):
            heart.router.fleet.state(each).succeeded(waited_s=0.05, stream=True)
    limited = msgspec.structs.replace(call(stream=True), controls=Controls(timeout_s=5.0), received_s=loop.time())

    answer = await heart.answer(limited)
    answer.close()

    first_s, second_s = [each.controls.timeout_s or 0.0 for each in provider.calls]
    assert math.isclose(first_s, 5.0)
    assert second_s < 4.99


async def test_without_a_measure_nobody_is_late():
    """A deployment that has answered too few streams to know is waited for."""
    upstream = SlowUpstream()
    pair = (deployment("a", id="1"), deployment("a", id="2"))
    heart = gateway(Provider(), upstream, *pair, rules=Rules(hedges=True), hedge=Hedge(1.0))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(heart.answer(call(stream=True)), 0.05)

    assert upstream.sent == 1
