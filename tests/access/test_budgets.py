"""The money that may be spent since the start."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.access.budgets import SLOTS, ProcessBudget, SharedSpend
from proxy_cli.errors import BudgetExceeded


def test_budget_lets_in_until_the_limit_is_spent():
    """A call passes while less than the limit is spent and is refused from the limit on, with the configured status."""
    budget = ProcessBudget(0.05, 429)

    budget.add(0.03)
    budget.check()
    budget.add(0.02)

    with pytest.raises(BudgetExceeded) as refused:
        budget.check()
    assert refused.value.status == 429
    assert refused.value.message == "Budget has been exceeded! Current cost: 0.05, Max budget: 0.05"


def test_budget_without_a_limit_never_refuses():
    """Spend is still counted where nothing limits it."""
    budget = ProcessBudget(None, 422)

    budget.add(1e9)
    budget.check()

    assert budget.spent_usd == 1e9


def test_budget_of_nothing_refuses_at_once():
    """A limit of zero is a limit."""
    with pytest.raises(BudgetExceeded):
        ProcessBudget(0.0, 422).check()


def in_a_fork(work) -> None:
    """Run `work` in a forked process and wait for it."""
    child = os.fork()
    if child == 0:
        # Nothing of pytest's may run in the child, whatever happens.
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_spend_of_several_processes_is_one_sum():
    """Every worker sees what the others spent, and one that ends takes nothing with it."""
    spend = SharedSpend()
    budget = ProcessBudget(0.3, 422, spend)

    for worker in (1, 2, 3):

        def work(worker=worker):
            spend.use_slot(worker)
            budget.add(0.1)

        in_a_fork(work)

    with pytest.raises(BudgetExceeded, match=r"Current cost: 0\.3,"):
        budget.check()


def test_spend_of_a_successor_is_added_to_that_before_it():
    """A slot that is used again keeps what is in it."""
    spend = SharedSpend()

    for worker in (1, 1 + SLOTS):
        spend.use_slot(worker)
        spend.add(1.5)

    assert spend.total_usd() == 3.0


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 10**6)), max_size=50))
def test_spend_is_the_sum_of_what_was_added(parts):
    """Whichever slots are written in whichever order, nothing is lost."""
    spend = SharedSpend()

    for slot, amount in parts:
        spend.use_slot(slot)
        spend.add(amount)

    assert spend.total_usd() == sum(amount for _, amount in parts)
