"""Limits beside plain numbers, from key to key."""

import pytest

from proxy_cli.admin.key_bounds import bequeathed, refuse_looser, refuse_raising
from proxy_cli.errors import Forbidden

MOST = {
    "max_budget": 5,
    "budget_duration": "30d",
    "budget_limits": [{"budget_duration": "1d", "max_budget": 1.0}],
    "model_max_budget": {"m": {"budget_limit": 1, "time_period": "7d"}},
    "model_rpm_limit": {"m": 3},
    "allowed_ips": ["10.0.0.1", "10.0.0.2"],
    "metadata": {"model_tpm_limit": {"m": 9}},
    "tags": ["paid"],
}
LOOSER = [
    {"budget_duration": "1s"},
    {"budget_duration": "daily"},
    {"budget_limits": []},
    {"budget_limits": [{"budget_duration": "1d", "max_budget": 2.0}]},
    {"model_max_budget": {"other": 1}},
    {"model_max_budget": {"m": 2}},
    {"model_max_budget": {"m": {"budget_limit": 1, "time_period": "1s"}}},
    {"model_rpm_limit": {"m": 4}},
    {"model_rpm_limit": {"other": 1}},
    {"model_tpm_limit": {"m": 10}},
    {"allowed_ips": ["10.0.0.3"]},
]


def test_a_new_key_has_the_limits_of_the_key_that_asks_for_it():
    """Where it says nothing; and its tags, which may be what is paid for."""
    made = bequeathed({"tags": ["mine"]}, MOST)

    shared = ("budget_duration", "budget_limits", "model_max_budget", "model_rpm_limit", "allowed_ips")
    assert {name: made[name] for name in shared} == {name: MOST[name] for name in shared}
    assert made["model_tpm_limit"] == {"m": 9}
    assert made["tags"] == ["paid", "mine"]


@pytest.mark.row("A-18")
@pytest.mark.parametrize("wanted", LOOSER)
def test_looser_is_refused(wanted):
    """Of a new key and of a change."""
    if any(wanted.values()):
        with pytest.raises(Forbidden):
            bequeathed(dict(wanted), MOST)
    with pytest.raises(Forbidden):
        refuse_looser(wanted, MOST, "this key")


@pytest.mark.parametrize("name", ["budget_limits", "model_max_budget", "model_rpm_limit", "allowed_ips"])
def test_nothing_is_taken_off(name):
    """Null and emptiness mean no limit."""
    for nothing in (None, type(MOST[name])()):
        with pytest.raises(Forbidden):
            refuse_looser({name: nothing}, MOST, "this key")


def test_narrower_and_the_same_are_taken():
    """As is what has no limit yet."""
    refuse_looser({**MOST, "budget_duration": "60d", "model_rpm_limit": {"m": 1, "x": 9}}, MOST, "this key")
    refuse_looser({"allowed_ips": ["10.0.0.2"], "budget_duration": None, "model_max_budget": {"m": 1}}, MOST, "it")
    refuse_looser({"budget_duration": "1d", "allowed_ips": ["10.0.0.2"]}, {}, "this key")


def test_limits_in_the_metadata_do_not_go_with_it():
    """Whoever writes the metadata anew leaves them there, or says them in their own place."""
    with pytest.raises(Forbidden):
        refuse_looser({"metadata": {"note": "x"}}, MOST, "this key")
    refuse_looser({"metadata": {"note": "x"}, "model_tpm_limit": {"m": 9}}, MOST, "this key")
    refuse_looser({"metadata": {"model_tpm_limit": {"m": 8}}}, MOST, "this key")


def test_a_budget_for_all_time_gets_no_period():
    """It would come anew."""
    with pytest.raises(Forbidden):
        refuse_looser({"budget_duration": "1s"}, {"max_budget": 5}, "this key")


@pytest.mark.parametrize("name", ["temp_budget_increase", "temp_budget_expiry", "weight"])
def test_the_metadata_raises_nothing(name):
    """What an operator has put there may stay."""
    with pytest.raises(Forbidden):
        refuse_raising({"metadata": {name: "5"}}, {})
    refuse_raising({"metadata": {name: "5"}}, {"metadata": {name: "5"}})
