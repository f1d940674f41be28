"""Which of several limits a caller is told of."""

import pytest

from proxy_cli.callers import Period
from proxy_cli.errors import BudgetExceeded, RateLimited
from tests.access.desk import Desk, key


def test_of_two_rates_the_longer_wait_is_told():
    """A caller who comes again when told so is not refused by the other."""
    desk, slow, quick = Desk(), key("slow", rpm=1), key("quick", rpm=2)
    desk.take(quick)
    desk.pass_s(10)
    desk.take(slow, quick)
    desk.pass_s(10)

    with pytest.raises(RateLimited, match="api_key: slow") as refused:
        desk.take(quick, slow)

    desk.pass_s(refused.value.retry_after_s or 0)
    desk.take(quick, slow)


def test_of_two_token_limits_one_that_never_fits_is_told():
    """No wait is named when one of the limits is smaller than the request."""
    desk, used, small = Desk(), key("used", tpm=1000), key("small", tpm=50)
    desk.take(used, tokens=950)

    with pytest.raises(RateLimited, match="api_key: small") as refused:
        desk.take(used, small, tokens=60)

    assert refused.value.retry_after_s is None


def test_the_wait_for_tokens_is_until_enough_of_them_are_old():
    """Not until all are."""
    desk, scope = Desk(), key(tpm=100)
    for _ in range(4):
        desk.take(scope, tokens=25)
        desk.pass_s(5)

    with pytest.raises(RateLimited) as refused:
        desk.take(scope, tokens=40)

    assert refused.value.retry_after_s == 61 - 15  # the second of the four is 15 s old
    desk.pass_s(46)
    desk.take(scope, tokens=40)


def test_of_equal_parallel_limits_the_narrowest_scope_is_told():
    """That is the first of the list."""
    desk = Desk()

    with pytest.raises(RateLimited, match="api_key: first"):
        desk.take(key("first", max_parallel=0), key("second", max_parallel=0))


def test_a_budget_says_when_its_window_ends():
    """For a day it is midnight."""
    desk = Desk()

    with pytest.raises(BudgetExceeded, match=r"begins anew at 2026-11-24 00:00:00 UTC"):
        desk.take(key(max_nano=0, period=Period("1d")))


def test_the_status_of_a_spent_budget_is_a_setting():
    """LiteLLM's versions differ."""
    desk = Desk()
    desk.limits.budget_status = 400

    with pytest.raises(BudgetExceeded) as refused:
        desk.take(key(max_nano=0))

    assert refused.value.status == 400
