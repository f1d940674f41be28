"""The bodies of requests about keys."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.admin.key_body import (
    ASIDE,
    INERT,
    KeyFields,
    after,
    check_fields,
    check_key,
    check_moment,
    is_digest,
    seconds_of,
)
from proxy_cli.errors import InvalidRequest

NOW_US = int(datetime(2028, 1, 31, 12, tzinfo=UTC).timestamp()) * 1_000_000
_SECOND = 1_000_000


@pytest.mark.parametrize(
    ("duration", "ends"),
    [
        ("30s", datetime(2028, 1, 31, 12, 0, 30, tzinfo=UTC)),
        ("30m", datetime(2028, 1, 31, 12, 30, tzinfo=UTC)),
        ("30h", datetime(2028, 2, 1, 18, tzinfo=UTC)),
        ("30d", datetime(2028, 3, 1, 12, tzinfo=UTC)),
        ("2w", datetime(2028, 2, 14, 12, tzinfo=UTC)),
        ("1mo", datetime(2028, 2, 29, 12, tzinfo=UTC)),
        ("3mo", datetime(2028, 4, 30, 12, tzinfo=UTC)),
        ("13mo", datetime(2029, 2, 28, 12, tzinfo=UTC)),
    ],
)
def test_a_duration_ends_when_a_calendar_says_it_does(duration, ends):
    """A month ends on the same day, or on the last of one that is shorter."""
    assert after("duration", duration, NOW_US) == int(ends.timestamp()) * _SECOND


@given(st.integers(1, 1200))
def test_more_months_never_end_earlier(count):
    """However long months are."""
    assert after("duration", f"{count}mo", NOW_US) < after("duration", f"{count + 1}mo", NOW_US)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_is_refused_with_the_fields_name(text):
    """There is no third way."""
    try:
        ends_at = after("grace_period", text, NOW_US)
    except InvalidRequest as error:
        ends_at, refused = NOW_US, error.param
    else:
        refused = "grace_period"

    assert ends_at >= NOW_US
    assert refused == "grace_period"


@pytest.mark.parametrize("duration", ["", "30", "d", "-1d", "1y", "1.5h", "30 d", "99999999999s", "5300w", "1300mo"])
def test_what_is_no_duration_is_refused(duration):
    """Also what is longer than a century."""
    with pytest.raises(InvalidRequest):
        after("duration", duration, NOW_US)


def test_durations_are_compared_in_seconds():
    """A month counts as 30 days."""
    assert [seconds_of("duration", each) for each in ("90s", "2h", "1w", "1mo")] == [90, 7200, 604_800, 2_592_000]
    with pytest.raises(InvalidRequest):
        seconds_of("duration", "soon")


def test_moments_are_read_with_and_without_a_zone():
    """Without one they are UTC."""
    assert check_moment("x", "2028-01-31T12:00:00Z") == check_moment("x", "2028-01-31 12:00:00") == NOW_US
    assert check_moment("x", "2028-01-31T14:00:00+02:00") == NOW_US
    for text in ("tomorrow", "2028-13-01", "9" * 50):
        with pytest.raises(InvalidRequest):
            check_moment("x", text)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"budget_duration": "x"}, "budget_duration"),
        ({"budget_limits": [{"budget_duration": "x"}]}, "budget_limits"),
        ({"model_max_budget": {"a": {}}}, "model_max_budget"),
        ({"model_max_budget": {"a": None}}, "model_max_budget"),
        ({"model_max_budget": {"a": "inf"}}, "model_max_budget"),
        ({"allowed_routes": ["*"]}, "allowed_routes"),
        ({"temp_budget_expiry": "soon"}, "temp_budget_expiry"),
        ({"rotation_interval": "often"}, "rotation_interval"),
    ],
)
def test_values_that_are_none_are_refused_by_name(fields, param):
    """Though they are of the right kind."""
    with pytest.raises(InvalidRequest) as refused:
        check_fields(fields)

    assert refused.value.param == param


def test_values_that_are_some_pass():
    """In the ways that LiteLLM's clients write them."""
    check_fields(
        {
            "budget_duration": "monthly",
            "model_max_budget": {"a": 1, "b": {"budget_limit": "0.5", "time_period": "1d"}, "c": {"max_budget": 2}},
            "allowed_routes": ["/chat/completions", "/key/*", "llm_api_routes"],
            "temp_budget_expiry": "2028-01-31",
            "max_budget": None,
        }
    )


def test_a_token_is_told_from_a_key():
    """64 small hexadecimal digits, and nothing else."""
    assert is_digest("0123456789abcdef" * 4)
    assert not any(is_digest(each) for each in ("sk-x", "0" * 63, "0" * 65, "G" * 64, "A" * 64, ""))


def test_a_chosen_key_is_printable_and_long_enough():
    """From 16 characters to 512."""
    assert check_key("sk-" + "x" * 13) == "sk-" + "x" * 13
    for key in ("sk-" + "x" * 12, "sk-" + "x" * 510, "sk-" + "x" * 20 + "\n", "x" * 20):
        with pytest.raises(InvalidRequest):
            check_key(key)


def test_every_field_is_kept_in_one_place():
    """What does nothing is kept as it came, and limits are not among it."""
    fields = set(KeyFields.__struct_fields__)

    assert fields >= INERT
    assert not INERT & {"max_budget", "rpm_limit", "models", "allowed_routes", "key_type", "allowed_ips", "metadata"}
    assert not (ASIDE - {"send_invite_email"}) & INERT
