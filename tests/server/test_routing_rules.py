"""The rules that a configuration stands for."""

import pytest

from proxy_cli.config.schema import Config
from proxy_cli.routing.rules import Rules
from proxy_cli.server.routing_rules import rules_of


def rules(**sections):
    """The rules of a configuration that has these sections."""
    return rules_of(Config.model_validate(sections))


def models(targets):
    """Targets by their names."""
    return {name: [each.model for each in found] for name, found in targets.items()}


def test_a_configuration_that_says_nothing_has_the_usual_rules():
    """Those that a test of routing begins with."""
    assert rules() == Rules()


@pytest.mark.parametrize(
    ("setting", "value", "field", "wanted"),
    [
        ("routing_strategy", "least-busy", "strategy", "least-busy"),
        ("routing_strategy", "lar1", "strategy", "simple-shuffle"),
        ("routing_strategy_args", {"lowest_latency_buffer": 0.5}, "strategy_args", {"lowest_latency_buffer": 0.5}),
        ("num_retries", 0, "retries", 0),
        ("max_retries", 5, "retries", 5),
        ("retry_after", 2, "retry_after_s", 2.0),
        ("retry_policy", {"TimeoutErrorRetries": 1}, "retry_policy", {"TimeoutErrorRetries": 1}),
        ("model_group_retry_policy", {"a": {"DefaultRetries": 1}}, "group_retry_policy", {"a": {"DefaultRetries": 1}}),
        ("max_fallbacks", 0, "max_fallbacks", 0),
        ("allowed_fails", 0, "allowed_fails", 0),
        (
            "allowed_fails_policy",
            {"TimeoutErrorAllowedFails": 9},
            "allowed_fails_policy",
            {"TimeoutErrorAllowedFails": 9},
        ),
        ("cooldown_time", 0, "rest_s", 0.0),
        ("disable_cooldowns", True, "rests", False),
        ("enable_pre_call_checks", True, "checks_calls", True),
        ("enable_tag_filtering", True, "by_tags", True),
        ("tag_filtering_match_any", False, "any_tag", False),
        ("tag_routing_prefix", "route:", "tag_prefix", "route:"),
        ("hedging", True, "hedges", True),
        ("default_priority", 0, "priority", 0),
    ],
)
def test_each_setting_of_the_router_has_its_rule(setting, value, field, wanted):
    """Also where its value is nothing, zero or false."""
    assert getattr(rules(router_settings={setting: value}), field) == wanted


def test_the_queue_is_a_setting_of_the_server():
    """`off` is a word for false; the length may be none at all."""
    found = rules(general_settings={"queue": "off", "max_queued_requests_per_deployment": 0})

    assert (found.queues, found.most_queued) == (False, 0)


@pytest.mark.parametrize(
    ("setting", "one", "other", "field"),
    [("num_retries", 0, 4, "retries"), ("allowed_fails", 0, 4, "allowed_fails"), ("cooldown_time", 0, 4, "rest_s")],
)
def test_the_routers_word_wins_over_the_copy_for_all(setting, one, other, field):
    """And the copy holds where the router says nothing."""
    both = rules(router_settings={setting: one}, litellm_settings={setting: other})
    copy = rules(litellm_settings={setting: other})

    assert (getattr(both, field), getattr(copy, field)) == (one, other)


@pytest.mark.parametrize("kind", ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks"])
def test_fallbacks_are_those_of_the_router_or_else_those_for_all(kind):
    """Never both: who writes them anew means them anew."""
    own, copy = {kind: [{"a": ["b"]}]}, {kind: [{"a": ["c"]}, {"d": ["e"]}]}

    assert models(getattr(rules(router_settings=own, litellm_settings=copy), kind)) == {"a": ["b"]}
    assert models(getattr(rules(litellm_settings=copy), kind)) == {"a": ["c"], "d": ["e"]}


def test_fallbacks_of_all_names_are_those_of_a_star():
    """After the ones that are written so."""
    router = {"fallbacks": [{"*": ["x"]}], "default_fallbacks": ["y"]}

    assert models(rules(router_settings=router).fallbacks) == {"*": ["x", "y"]}
    assert models(rules(litellm_settings={"default_fallbacks": ["y"]}).fallbacks) == {"*": ["y"]}


def test_longer_models_are_asked_where_nothing_else_is_said_and_they_are_served():
    """`context_window_fallback_dict` may hold names that this proxy does not know."""
    config = Config.model_validate(
        {
            "litellm_settings": {
                "context_window_fallback_dict": {"a": "long", "b": "long", "c": "nobody"},
                "context_window_fallbacks": [{"b": ["longest"]}],
            }
        }
    )

    found = rules_of(config, serves={"long", "longest"}.__contains__)

    assert models(found.context_window_fallbacks) == {"a": ["long"], "b": ["longest"]}


def test_a_call_waits_no_longer_than_it_may_take():
    """The time limit of all calls, where there is one."""
    assert rules_of(Config(), deadline_s=30).max_wait_s == 30


@pytest.mark.parametrize(("in_flight", "most_waiting"), [(1000, 750), (4, 3), (1, 1)])
def test_of_what_a_process_takes_on_three_quarters_may_wait(in_flight, most_waiting):
    """The rest is for calls to deployments that have places."""
    assert rules_of(Config(), in_flight=in_flight).most_waiting == most_waiting
