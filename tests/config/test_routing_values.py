"""The kinds of value that only routing has."""

import pytest

from proxy_cli.config.reading import Unreadable, read_as
from proxy_cli.config.routing_values import (
    ALLOWED_FAILS,
    KINDS,
    RETRIES,
    AllowedFailsPolicy,
    Pattern,
    Percent,
    Priority,
    Retries,
    RetryPolicy,
)
from proxy_cli.routing.kinds import Kind, policy_name


def test_a_policy_may_speak_of_every_kind_that_routing_tells_apart():
    """A name that is accepted and never looked up would do nothing."""
    assert set(KINDS) == {name for kind in Kind if (name := policy_name(kind))}


@pytest.mark.parametrize(("annotation", "names"), [(RetryPolicy, RETRIES), (AllowedFailsPolicy, ALLOWED_FAILS)])
def test_a_policy_is_a_number_for_each_kind(annotation, names):
    """As many as are named."""
    assert read_as(annotation, dict.fromkeys(names, "3")) == dict.fromkeys(names, 3)
    assert read_as(annotation, {}) == {}


def test_all_mistakes_of_a_policy_are_told_each_at_its_place():
    """A slip, a wrong number and a name that nothing resembles."""
    with pytest.raises(Unreadable) as caught:
        read_as(RetryPolicy, {"TimeoutErrorRetires": 1, "RateLimitErrorRetries": -1, "Other": 1, "DefaultRetries": 1})

    found = [(each.path, each.message, each.cure) for each in caught.value.mistakes]
    assert [path for path, _, _ in found] == [("TimeoutErrorRetires",), ("RateLimitErrorRetries",), ("Other",)]
    assert found[0][2] == "did you mean 'TimeoutErrorRetries'?"
    assert found[1][1] == "must be at least 0, got -1"
    assert found[2][2].startswith("valid: BadRequestErrorRetries, ")


def test_a_policy_that_is_no_mapping_is_refused():
    """Whatever it is."""
    with pytest.raises(Unreadable, match="expected a mapping"):
        read_as(RetryPolicy, [1])


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (Retries, ["0", "100"], ["-1", "101", "1.5"]),
        (Priority, ["0", "255"], ["-1", "256"]),
        (Percent, ["0", "0.5", "100"], ["-1", "101"]),
        (Pattern, ["^User-Agent: claude-code/.*"], ["(", ""]),
    ],
)
def test_values_have_their_range(annotation, good, bad):
    """What is outside of it is refused."""
    for value in good:
        assert str(read_as(annotation, value)).startswith(value)
    for value in bad:
        with pytest.raises(Unreadable):
            read_as(annotation, value)
