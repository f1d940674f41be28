"""What a call may take, and that it gives back what it took."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_cli.access.limits import Ticket
from proxy_cli.callers import Period, Scope
from proxy_cli.errors import BudgetExceeded, Overloaded, RateLimited
from tests.access.desk import NOON, Desk, key

DAY_S = 86_400


def passes(desk: Desk, *scopes: Scope, **asked: object) -> bool:
    """Whether a call is taken."""
    try:
        desk.take(*scopes, **asked)  # type: ignore[arg-type]
    except (RateLimited, BudgetExceeded):
        return False
    return True


@pytest.mark.row("B-01")
def test_a_budget_for_ten_calls_lets_ten_of_500_pass():
    """What runs is reserved, so that calls which began together do not pass together."""
    desk, scope = Desk(), key(max_nano=1000)

    taken = sum(passes(desk, scope, nano=100) for _ in range(500))

    assert taken == 10
    assert desk.limits.in_use(scope).reserved_nano == 1000


def test_a_settled_call_is_spent_and_reserves_nothing():
    """The cost takes the place of the reservation, once, however often it is said."""
    desk, scope = Desk(), key(max_nano=1000)
    ticket = desk.take(scope, nano=800)

    ticket.settle(300, 5)
    ticket.settle(300, 5)
    ticket.void()

    assert desk.limits.spent(scope) == 300
    assert desk.limits.in_use(scope).reserved_nano == 0
    assert passes(desk, scope, nano=700)


def test_a_call_that_is_not_bound_needs_anything_left_and_reserves_no_more():
    """Its estimate may be too high: it is let in, and the ledger is told what was really set aside."""
    desk, scope = Desk(), key(max_nano=1000)
    desk.take(scope, nano=900).settle(900, 0)

    ticket = desk.take(scope, nano=5000, is_bound=False)

    assert ticket.reserved_nano == 100
    assert not passes(desk, scope, nano=1, is_bound=False)
    ticket.settle(5000, 0)
    assert desk.limits.spent(scope) == 5900


def test_a_spent_budget_refuses_what_is_free_too():
    """A limit of nothing is a limit, also for a call that is known to cost nothing."""
    desk = Desk()

    assert not passes(desk, key(max_nano=0), nano=0)
    assert passes(desk, key("k2", max_nano=1), nano=0)


@pytest.mark.row("B-03")
def test_a_burst_over_the_minute_boundary_is_never_more_than_the_limit():
    """600 calls around the full minute of a limit of 60: no 60 s, wherever they begin, hold more than 60 of them."""
    desk, scope, rng = Desk(clock_s=1019.5), key(rpm=60), random.Random(3)
    admitted = []

    for _ in range(600):
        desk.pass_s(rng.random() * 0.5)
        if passes(desk, scope):
            admitted.append(desk.clock_s)

    assert len(admitted) > 120
    assert all(later - earlier >= 60 for earlier, later in zip(admitted, admitted[60:], strict=False))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.floats(0, 70), st.integers(0, 5)), min_size=1, max_size=60),
    st.floats(0, 200),
)
def test_no_minute_holds_more_requests_or_tokens_than_the_limit(rpm, calls, begin):
    """Whenever calls come and whatever they ask, what was admitted in any 60 s is within both limits."""
    desk, scope, admitted = Desk(clock_s=begin), key(rpm=rpm, tpm=10), []

    for pause_s, tokens in calls:
        desk.pass_s(pause_s)
        if passes(desk, scope, tokens=tokens):
            admitted.append((desk.clock_s, tokens))

    for moment, _ in admitted:
        within = [tokens for other, tokens in admitted if 0 <= other - moment < 60]
        assert len(within) <= rpm
        assert sum(within) <= 10


def test_a_refused_call_is_told_how_long_to_wait_and_then_passes():
    """Retry-After is true: a moment before it the call is refused, and at it is let in."""
    desk, scope = Desk(clock_s=1000.25), key(rpm=1)
    desk.take(scope)
    desk.pass_s(20)

    with pytest.raises(RateLimited) as refused:
        desk.take(scope)

    wait_s = refused.value.retry_after_s
    assert wait_s == 40.75  # the second of the first call is wholly over a minute old
    desk.pass_s(wait_s - 0.01)
    assert not passes(desk, scope)
    desk.pass_s(0.01)
    assert passes(desk, scope)


@pytest.mark.row("B-04")
def test_tokens_are_set_aside_and_corrected():
    """Input and longest answer count at once; what was not used is free again, what was used beyond it counts."""
    desk, scope = Desk(), key(tpm=1000)
    ticket = desk.take(scope, tokens=900)
    assert not passes(desk, scope, tokens=200)
    desk.pass_s(30)

    ticket.settle(0, 100)

    assert desk.limits.in_use(scope).tokens_left == 900
    desk.take(scope, tokens=100).settle(0, 800)
    assert desk.limits.in_use(scope).tokens_left == 100


@pytest.mark.row("B-04")
def test_tokens_of_a_reply_longer_than_a_minute():
    """What was set aside has left the window: using less gives nothing back, using more counts from now on."""
    desk, scope = Desk(), key(tpm=1000)
    short, long = desk.take(scope, tokens=400), desk.take(scope, tokens=400)
    desk.pass_s(120)
    desk.take(scope, tokens=300)

    short.settle(0, 100)
    assert desk.limits.in_use(scope).tokens_left == 700
    long.settle(0, 900)
    assert desk.limits.in_use(scope).tokens_left == 200


def test_a_request_larger_than_a_minute_is_told_so():
    """Waiting would be of no use, so no wait is named; one whose size is a guess gets an empty minute instead."""
    desk, scope = Desk(), key(tpm=1000)

    with pytest.raises(RateLimited, match="This request alone may use 5000 tokens") as refused:
        desk.take(scope, tokens=5000)

    assert refused.value.retry_after_s is None
    assert desk.take(scope, tokens=5000, is_bound=False).tokens == 1000
    assert not passes(desk, scope, tokens=0)


def test_limits_of_nothing_refuse():
    """A zero is a limit, for each of them."""
    desk = Desk()

    assert not passes(desk, key("a", rpm=0))
    assert not passes(desk, key("b", tpm=0))
    assert not passes(desk, key("c", tpm=0), is_bound=False)
    assert not passes(desk, key("d", max_parallel=0))


@pytest.mark.row("B-05")
def test_parallel_calls_that_end_in_any_way_give_their_place_back():
    """Ended at random by an answer, a failure or before a backend: never more than 5 at once, and 0 in the end."""
    desk, scope, rng = Desk(), key(max_parallel=5, max_nano=10**9), random.Random(5)
    under_way: list[Ticket] = []

    for _ in range(1000):
        if under_way and rng.random() < 0.5:
            ticket = under_way.pop(rng.randrange(len(under_way)))
            rng.choice((ticket.void, lambda ticket=ticket: ticket.settle(7, 7)))()
        elif passes_to(desk, scope, under_way):
            assert len(under_way) <= 5
        else:
            assert len(under_way) == 5
    for ticket in under_way:
        ticket.settle(0, 0)

    use = desk.limits.in_use(scope)
    assert (use.parallel_left, use.reserved_nano) == (5, 0)


def passes_to(desk: Desk, scope: Scope, under_way: list[Ticket]) -> bool:
    """Take a call and keep its ticket."""
    try:
        under_way.append(desk.take(scope, nano=10))
    except RateLimited:
        return False
    return True


@pytest.mark.row("B-06")
@pytest.mark.parametrize("tight", [{"max_parallel": 0}, {"max_nano": 5}, {"rpm": 0}, {"tpm": 1}])
def test_a_refused_call_consumes_nothing(tight):
    """Whichever scope refuses, at whichever place, no other limit is touched."""
    desk, roomy = Desk(), key(rpm=10, tpm=100, max_parallel=3, max_nano=1000)
    before = desk.limits.in_use(roomy)

    for scopes in ((roomy, key("tight", **tight)), (key("tight", **tight), roomy)):
        with pytest.raises((RateLimited, BudgetExceeded)):
            desk.take(*scopes, nano=10, tokens=10)

    assert desk.limits.in_use(roomy) == before


def test_a_call_that_never_reached_a_backend_consumes_nothing():
    """Requests and tokens are given back with all else, as long as they would count."""
    desk, scope = Desk(), key(rpm=2, tpm=100, max_parallel=3, max_nano=1000)
    before = desk.limits.in_use(scope)
    ticket = desk.take(scope, nano=10, tokens=10)
    desk.pass_s(59)

    ticket.void()

    assert desk.limits.in_use(scope) == before
    late = desk.take(scope, nano=10, tokens=10)
    desk.pass_s(61)
    desk.take(scope, tokens=20)
    late.void()
    use = desk.limits.in_use(scope)
    assert (use.requests_left, use.tokens_left, use.parallel_left) == (1, 80, 2)


KINDS = ("key", "user", "team", "organization")


@pytest.mark.row("B-07")
@pytest.mark.parametrize("tight", KINDS)
def test_the_tightest_budget_is_named(tight):
    """Of key, user, team and organization the one with the least left is what the caller hears of."""
    desk = Desk()
    scopes = [
        Scope(kind=kind, id=f"{kind}-id", name=f"my-{kind}", max_nano=100 if kind == tight else 200) for kind in KINDS
    ]
    desk.take(*scopes, nano=50).settle(50, 0)

    with pytest.raises(BudgetExceeded) as refused:
        desk.take(*scopes, nano=5000)

    assert f"my-{tight}" in refused.value.message
    assert not any(f"my-{kind}" in refused.value.message for kind in KINDS if kind != tight)


@pytest.mark.row("B-07")
@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        ({"max_parallel": 1, "rpm": 1, "tpm": 10, "max_nano": 10}, "max_parallel_requests"),
        ({"rpm": 1, "tpm": 10, "max_nano": 10}, "requests"),
        ({"tpm": 10, "max_nano": 10}, "tokens"),
    ],
)
def test_limits_are_told_in_their_order(limits, kind):
    """Requests at once come first, then requests and tokens a minute; money last."""
    desk, scope = Desk(), key(**limits)
    desk.take(scope, nano=10, tokens=10)

    with pytest.raises(RateLimited) as refused:
        desk.take(scope, nano=10, tokens=10)

    assert dict(refused.value.headers)["rate_limit_type"] == kind


@pytest.mark.row("B-08")
def test_a_changed_limit_holds_for_the_next_call():
    """Raised, lowered and taken away: what was counted stays counted."""
    desk = Desk()
    desk.take(key(max_nano=100, rpm=5), nano=80).settle(80, 0)

    assert not passes(desk, key(max_nano=100, rpm=5), nano=80)
    assert passes(desk, key(max_nano=200, rpm=5), nano=80)
    assert not passes(desk, key(max_nano=50, rpm=5), nano=0)
    assert not passes(desk, key(rpm=2))
    assert passes(desk, key())


@pytest.mark.row("B-08")
def test_a_budget_that_is_set_counts_calls_that_were_under_way():
    """A key without limits takes no memory; what it has under way when it gets a budget is counted all the same."""
    desk = Desk()
    ticket = desk.take(key(), nano=50)
    limited = key(max_nano=100)
    desk.limits.learn(limited, 0, 0, 20)

    ticket.settle(50, 0)

    assert desk.limits.spent(limited) == 70


def test_a_changed_period_has_a_sum_of_its_own_and_the_same_rates():
    """Another period is another sum; the requests of this minute stay counted, so that nobody gains by the change."""
    desk = Desk()
    desk.take(key(rpm=1, max_nano=100, period=Period("1d")), nano=100).settle(100, 0)
    monthly = key(rpm=1, max_nano=100, period=Period("1mo"))

    assert desk.limits.missing([monthly]) == [monthly]
    desk.limits.learn(monthly, desk.limits.window(monthly), 0, 60)
    assert desk.limits.spent(monthly) == 60
    assert not passes(desk, monthly, nano=10)
    desk.pass_s(61)
    assert passes(desk, monthly, nano=10)


def test_a_row_for_rates_alone_does_not_stand_for_money():
    """A key whose period is taken away has to be learned, although its rates have always been counted here."""
    desk = Desk()
    desk.take(key(rpm=5, max_nano=100, period=Period("1d")), nano=1)

    for_ever = key(rpm=5, max_nano=100)

    assert desk.limits.missing([for_ever]) == [for_ever]
    desk.limits.learn(for_ever, 0, 0, 100)
    assert not passes(desk, for_ever, nano=1)
    assert desk.limits.in_use(for_ever).requests_left == 4


@pytest.mark.row("B-15")
def test_calls_under_way_at_the_end_of_a_window_belong_to_it():
    """1000 calls taken before midnight and settled around it: each is in one window, and both sums are exact."""
    desk = Desk(wall_s=NOON)
    scope = key(max_nano=10**9, period=Period("1d"), max_parallel=2000)
    first = [desk.take(scope, nano=1000) for _ in range(1000)]
    for ticket in first[:300]:
        ticket.settle(7, 0)
    today, spent_today = desk.limits.window(scope), desk.limits.spent(scope)

    desk.pass_s(DAY_S / 2)
    second = [desk.take(scope, nano=1000) for _ in range(500)]
    for ticket in first[300:]:
        ticket.settle(7, 0)
    use = desk.limits.in_use(scope)

    assert spent_today == 2100
    assert {ticket.charges for ticket in first} == {(("key", "k1", today),)}
    assert {ticket.charges for ticket in second} == {(("key", "k1", today + DAY_S),)}
    assert (use.spent_nano, use.reserved_nano, use.parallel_left) == (0, 500_000, 1500)
    for ticket in second:
        ticket.settle(11, 0)
    use = desk.limits.in_use(scope)
    assert (use.spent_nano, use.reserved_nano, use.parallel_left) == (5500, 0, 2000)


@pytest.mark.row("B-16")
@pytest.mark.parametrize("period", ["1h", "1d", "1mo"])
def test_a_clock_that_goes_back_reopens_no_window(period):
    """An hour back, a budget that is spent stays spent; a day forward and back again, the later window stays."""
    desk, scope, plain = Desk(wall_s=NOON + 0.5), key(max_nano=100, period=Period(period)), key(period=Period(period))
    desk.take(scope, nano=100).settle(100, 0)
    window = desk.limits.window(scope)

    desk.wall_s -= 3600
    assert not passes(desk, scope, nano=1)
    assert desk.limits.window(scope) == desk.take(plain).charges[0][2] == window

    desk.wall_s += 3600 + 40 * DAY_S
    desk.take(scope, nano=100).settle(100, 0)
    later = desk.limits.window(scope)
    desk.wall_s -= 40 * DAY_S
    assert later > window
    assert not passes(desk, scope, nano=1)
    assert desk.limits.window(scope) == desk.take(plain).charges[0][2] == later


def test_a_window_turns_for_scopes_that_limit_nothing():
    """What is only counted in the ledger is counted in its own window, too."""
    desk, scope = Desk(), key(period=Period("1d"))
    before = desk.take(scope, Scope(kind="team", id="t")).charges

    desk.pass_s(DAY_S)

    after = desk.take(scope, Scope(kind="team", id="t")).charges
    assert before == (("key", "k1", int(NOON - DAY_S / 2)), ("team", "t", 0))
    assert after == (("key", "k1", int(NOON + DAY_S / 2)), ("team", "t", 0))


def test_a_scope_is_missing_until_its_sums_are_learned():
    """What this node counted before is taken once, what others counted whenever it is told."""
    desk, scope = Desk(), key(max_nano=1000)
    assert desk.limits.missing([scope, key("free")]) == [scope]

    desk.limits.learn(scope, 0, 200, 300)
    assert desk.limits.missing([scope]) == []
    desk.take(scope, nano=100).settle(100, 0)
    desk.limits.learn(scope, 0, 250, 400)

    assert desk.limits.spent(scope) == 250 + 300 + 100
    assert not passes(desk, scope, nano=351)
    assert passes(desk, scope, nano=350)


def test_sums_of_another_window_are_not_learned():
    """What was loaded just before midnight says nothing of the day after."""
    desk, scope = Desk(), key(max_nano=1000, period=Period("1d"))
    window = desk.limits.window(scope)
    desk.pass_s(DAY_S)

    desk.limits.learn(scope, window, 700, 300)
    assert desk.limits.spent(scope) == 0
    desk.limits.learn(scope, window, 700, 300)
    assert desk.limits.spent(scope) == 0
    desk.limits.learn(scope, window + DAY_S, 700, 300)
    assert desk.limits.spent(scope) == 700


def test_spend_of_a_window_that_is_over_is_not_shown():
    """Nobody has called yet since midnight: nothing is spent, and all is free."""
    desk, scope = Desk(), key(max_nano=1000, period=Period("1d"), rpm=3)
    desk.take(scope, nano=500).settle(500, 0)

    desk.pass_s(DAY_S)

    use = desk.limits.in_use(scope)
    assert (use.spent_nano, use.reserved_nano, use.requests_left) == (0, 0, 3)
    assert desk.limits.spent(scope) == 0


def test_the_cost_of_a_process_that_died_is_counted():
    """What the ledger found of it is added to the window that it was taken in."""
    desk, scope = Desk(), key(max_nano=1000, period=Period("1d"))
    charges = desk.take(scope, key("free"), nano=10).charges

    desk.limits.count(charges, 40)
    desk.limits.count([("key", "k1", charges[0][2] - DAY_S), ("key", "nobody", 0)], 40)

    assert desk.limits.spent(scope) == 40


def test_use_says_what_is_left():
    """Limits that are not set are None, and time frees what is old without a call."""
    desk, scope = Desk(), key(rpm=5, tpm=100, max_parallel=2)
    desk.take(scope, nano=9, tokens=30)

    use = desk.limits.in_use(scope)
    assert (use.requests_left, use.tokens_left, use.parallel_left, use.budget_nano) == (4, 70, 1, None)
    desk.pass_s(61)
    use = desk.limits.in_use(scope)
    assert (use.requests_left, use.tokens_left, use.parallel_left) == (5, 100, 1)
    assert desk.limits.in_use(key("free")).requests_left is None


def test_the_call_that_reaches_a_soft_budget_says_so():
    """Exactly one does, and nobody is refused."""
    desk, scope = Desk(), key(soft_nano=100)
    tickets = [desk.take(scope, nano=60) for _ in range(3)]

    for ticket in tickets:
        ticket.settle(60, 0)

    assert [ticket.crossed_soft for ticket in tickets] == [(), (scope,), ()]


def test_a_scope_named_twice_is_counted_once():
    """A tag that a caller sends twice costs once."""
    desk, scope = Desk(), key(rpm=5, max_nano=100)

    ticket = desk.take(scope, scope, nano=10)
    ticket.settle(10, 0)

    assert ticket.charges == (("key", "k1", 0),)
    assert desk.limits.spent(scope) == 10
    assert desk.limits.in_use(scope).requests_left == 4


def test_tracked_are_those_that_are_counted():
    """For each its present window; scopes without limits are not among them."""
    desk, scope = Desk(), key(max_nano=100, period=Period("1d"))

    desk.take(scope, key("free"), nano=10)

    assert desk.limits.tracked() == [("key", "k1", desk.limits.window(scope))]
    assert desk.limits.scopes() == [scope]


def test_a_full_table_is_said_and_old_scopes_make_room():
    """More scopes than there is room for are refused with the setting to raise; ten minutes later there is room."""
    desk = Desk(capacity=32)
    holder = desk.take(key("holder", max_parallel=1))
    for number in range(63):
        desk.take(key(f"k{number}", rpm=1))

    with pytest.raises(Overloaded, match=r"raise general_settings\.limits_capacity") as full:
        desk.take(key("one more", rpm=1))
    assert full.value.code == "limits_full"
    desk.pass_s(601)
    for number in range(63):
        desk.take(key(f"new{number}", rpm=1))

    assert desk.limits.in_use(key("holder", max_parallel=1)).parallel_left == 0
    holder.settle(0, 0)
    assert desk.limits.in_use(key("holder", max_parallel=1)).parallel_left == 1


def test_a_ticket_whose_row_was_given_away_does_no_harm():
    """A stream of an hour under a limit of requests alone: its end counts for its own scope, wherever that is now."""
    desk = Desk(capacity=32)
    ticket = desk.take(key("old", rpm=5, max_nano=None))
    desk.pass_s(601)
    others = [key(f"k{number}", max_nano=100) for number in range(64)]
    for each in others:
        desk.take(each, nano=1)

    ticket.settle(50, 0)

    assert {desk.limits.spent(each) for each in others} == {0}


def test_absurd_numbers_break_nothing():
    """A caller's max_tokens of 10^30 is refused by a budget and reserved within bounds without one."""
    desk = Desk()

    assert not passes(desk, key(max_nano=100, tpm=10**30), nano=10**40, tokens=10**30)
    ticket = desk.take(key("k2", rpm=1, tpm=10**30), nano=10**40, tokens=10**30)
    ticket.settle(1, 10**30)
    assert ticket.reserved_nano < 2**63


@pytest.mark.row("B-11")
def test_a_stream_of_two_hours_keeps_what_it_reserved():
    """As long as its process gives signs of life nothing is taken from it."""
    desk, scope = Desk(processes=2), key(max_nano=100, max_parallel=1)
    ticket = desk.take(scope, nano=60)

    for _ in range(7200):
        desk.pass_s(1)
        desk.limits.beat()

    use = desk.limits.in_use(scope)
    assert (use.reserved_nano, use.parallel_left) == (60, 0)
    ticket.settle(60, 0)
    assert desk.limits.in_use(scope).reserved_nano == 0
