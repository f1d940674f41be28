"""The bodies of requests about users."""

import pytest

from proxy_cli.admin.base import decoded
from proxy_cli.admin.user_body import ASIDE, INERT, NewUser, TeamPlace, UserFields, hashed, is_password
from proxy_cli.errors import Unprocessable


def test_two_hashes_of_one_password_differ_and_both_know_it():
    """So that nobody sees who has the same."""
    first, second = hashed("secret"), hashed("secret")

    assert first != second
    assert is_password("secret", first)
    assert is_password("secret", second)
    assert not is_password("Secret", first)


@pytest.mark.parametrize("kept", ["", "secret", "plain$1$00$00"])
def test_what_is_no_hash_of_ours_is_nobodys_password(kept):
    """Nor is it compared with one."""
    assert not is_password("secret", kept)


def test_teams_are_named_or_described():
    """As LiteLLM's clients do either."""
    body, _ = decoded(b'{"teams": ["blue", {"team_id": "red", "max_budget_in_team": 2}]}', NewUser)

    assert isinstance(body, NewUser)
    assert body.teams == ["blue", TeamPlace(team_id="red", max_budget_in_team=2.0)]


@pytest.mark.parametrize(
    "data",
    [
        b'{"user_role": "root"}',
        b'{"teams": [5]}',
        b'{"teams": [{}]}',
        b'{"teams": [{"team_id": "a", "user_role": "x"}]}',
    ],
)
def test_roles_and_teams_that_are_none_are_refused(data):
    """With the field's name."""
    with pytest.raises(Unprocessable):
        decoded(data, NewUser)


def test_limits_are_not_among_what_has_no_effect():
    """Nor is anything that has a column."""
    assert set(UserFields.__struct_fields__) >= INERT
    assert not INERT & {"max_budget", "models", "rpm_limit", "metadata"}
    assert not (ASIDE - {"send_invite_email"}) & INERT
