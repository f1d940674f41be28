"""What a key may do, made of its row and of those it belongs to."""

import pytest

from proxy_cli.access.grants import Facts, Terms, allows, known_of, scope_of
from proxy_cli.callers import Period, Role, Scope
from proxy_cli.money import NANO
from tests.access.stored import KEY, digest_of

DIGEST = digest_of(KEY)
NOW_S = 1_000.0


def key(fields=None, **columns):
    row = {"digest": DIGEST, "hint": "sk-...0001", "alias": None, "user_id": "", "team_id": "", "organization_id": ""}
    more = {"budget_id": "", "blocked": False, "expires_at": None, "replaced_by": None, "fields": fields or {}}
    return {**row, **more, **columns}


def user(fields=None, **columns):
    return {"user_id": "u", "alias": "", "role": "internal_user", "budget_id": "", "fields": fields or {}, **columns}


def team(fields=None, **columns):
    row = {"team_id": "t", "alias": "Team", "organization_id": "", "budget_id": "", "blocked": False}
    return {**row, "fields": fields or {}, **columns}


def member(fields=None, **columns):
    return {"team_id": "t", "user_id": "u", "budget_id": "", "fields": fields or {}, **columns}


def organization(fields=None, **columns):
    return {"organization_id": "o", "alias": "Org", "budget_id": "", "fields": fields or {}, **columns}


def caller(terms=None, now_s=NOW_S, **facts):
    """The caller of these rows."""
    known = known_of(DIGEST, Facts(**facts), terms or Terms(), now_s)
    assert known.caller is not None, known.refused
    return known.caller


def scopes(found):
    """The scopes of a caller by kind."""
    return {scope.kind: scope for scope in found.scopes}


def test_every_scope_is_counted_the_narrowest_first():
    """Key, its windows, member, user, team, organization and the proxy itself."""
    proxy = Scope(kind="proxy", id="")
    found = caller(
        Terms(proxy=proxy),
        key=key({"budget_limits": [{"budget_duration": "1d", "max_budget": 2}]}, user_id="u", team_id="t"),
        user=user(),
        team=team(organization_id="o"),
        member=member(),
        organization=organization(),
    )

    assert [(each.kind, each.id) for each in found.scopes] == [
        ("key", DIGEST),
        ("key_window", f"{DIGEST}/1d"),
        ("team_member", "t/u"),
        ("user", "u"),
        ("team", "t"),
        ("organization", "o"),
        ("proxy", ""),
    ]
    assert scopes(found)["key_window"].max_nano == 2 * NANO
    assert scopes(found)["key_window"].period == Period(text="1d")
    assert (found.user_id, found.team_id, found.organization_id, found.team_alias) == ("u", "t", "o", "Team")


def test_limits_come_from_the_objects_fields_and_then_from_its_budget():
    """What the object sets itself wins."""
    budgets = {"b": {"budget_id": "b", "fields": {"max_budget": 9, "rpm_limit": 7, "budget_duration": "30d"}}}
    fields = {"max_budget": 0.5, "soft_budget": 0.25, "tpm_limit": 100, "max_parallel_requests": 3}

    found = caller(Terms(zone="Europe/Berlin"), key=key(fields, budget_id="b", alias="app"), budgets=budgets)

    assert found.scopes == (
        Scope(
            kind="key",
            id=DIGEST,
            name="app",
            rpm=7,
            tpm=100,
            max_parallel=3,
            max_nano=NANO // 2,
            soft_nano=NANO // 4,
            period=Period(text="30d", zone="Europe/Berlin"),
        ),
    )


@pytest.mark.parametrize("holds", [False, True])
def test_a_users_budget_holds_for_keys_of_a_team_only_where_it_is_so_set(holds):
    """His speed is limited whoever pays."""
    facts = {"user": user({"max_budget": 1, "rpm_limit": 5}), "team": team()}

    found = scopes(caller(Terms(user_budget_holds_for_teams=holds), key=key(user_id="u", team_id="t"), **facts))
    alone = scopes(caller(key=key(user_id="u"), user=facts["user"]))

    assert found["user"].max_nano == (NANO if holds else None)
    assert found["user"].rpm == alone["user"].rpm == 5
    assert alone["user"].max_nano == NANO


def test_a_members_limits_are_his_own_and_then_the_teams_for_each_member():
    """Each by itself."""
    usual = team({"team_member_budget": 3, "team_member_rpm_limit": 4, "team_member_tpm_limit": 5})
    own = member({"max_budget_in_team": 1, "budget_duration": "7d"})

    with_own = scopes(caller(key=key(user_id="u", team_id="t"), team=usual, member=own))["team_member"]
    without = scopes(caller(key=key(user_id="u", team_id="t"), team=usual))["team_member"]

    assert (with_own.max_nano, with_own.rpm, with_own.tpm, with_own.period) == (NANO, 4, 5, Period(text="7d"))
    assert (without.max_nano, without.rpm, without.tpm, without.period) == (3 * NANO, 4, 5, None)


def test_limits_for_one_model_stand_by_its_name():
    """Of the key in each form that clients send, and of the team."""
    fields = {
        "model_max_budget": {"a": {"budget_limit": 1, "time_period": "1d"}, "b": {"max_budget": 2}, "c": 3},
        "model_rpm_limit": {"a": 5},
        "metadata": {"model_tpm_limit": {"d": 6}},
    }

    found = caller(key=key(fields, team_id="t"), team=team({"model_rpm_limit": {"a": 50}})).model_scopes

    assert [(each.kind, each.id) for each in found["a"]] == [("key_model", f"{DIGEST}/a"), ("team_model", "t/a")]
    assert (found["a"][0].max_nano, found["a"][0].rpm, found["a"][0].period) == (NANO, 5, Period(text="1d"))
    assert found["a"][1].rpm == 50
    assert (found["b"][0].max_nano, found["c"][0].max_nano, found["d"][0].tpm) == (2 * NANO, 3 * NANO, 6)


@pytest.mark.row("A-18")
@pytest.mark.parametrize(
    ("facts", "sets"),
    [
        ({"key": key()}, ()),
        ({"key": key({"models": ["a", "b"]})}, ({"a", "b"},)),
        ({"key": key({"models": ["a"]}, user_id="u"), "user": user({"models": ["b"]})}, ({"a"}, {"b"})),
        (
            {"key": key(user_id="u", team_id="t"), "user": user({"models": ["no-default-models"]}), "team": team()},
            (),
        ),
        ({"key": key(user_id="u"), "user": user({"models": ["no-default-models"]})}, ({"no-default-models"},)),
        ({"key": key({"models": ["all-team-models"]}, team_id="t"), "team": team({"models": ["x"]})}, ({"x"},)),
        ({"key": key({"models": ["all-proxy-models"]})}, ()),
        (
            {
                "key": key({"models": ["a", "b"]}, user_id="u", team_id="t"),
                "team": team({"models": ["a"]}, organization_id="o"),
                "member": member({"allowed_models": ["a", "c"]}),
                "organization": organization({"models": ["a", "d"]}),
            },
            ({"a", "b"}, {"a"}, {"a", "c"}, {"a", "d"}),
        ),
    ],
)
def test_a_model_must_be_allowed_by_all_who_have_a_say(facts, sets):
    """Key, team and member, or the user of a key without a team, and the organization; as they are now."""
    assert caller(**facts).models == tuple(map(frozenset, sets))


def test_an_alias_of_the_key_leads_only_to_what_its_team_allows():
    """The key's own list is widened by it, the team's is not; the team's aliases widen all."""
    own = key({"models": ["fast"], "aliases": {"fast": "gpt-4"}}, team_id="t")

    found = caller(key=own, team=team({"models": ["gpt-3", "best"], "model_aliases": {"best": "gpt-5"}}))

    assert found.aliases == {"fast": "gpt-4", "best": "gpt-5"}
    assert found.models == (frozenset({"fast", "gpt-4"}), frozenset({"gpt-3", "best", "gpt-5"}))


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"key": key(blocked=True)}, "blocked_key"),
        ({"key": key(expires_at=1_000_000_000)}, "expired_key"),
        ({"key": key(team_id="t")}, "team_not_found"),
        ({"key": key(team_id="t"), "team": team(blocked=True)}, "blocked_team"),
        ({"key": key(), "presented": key(expires_at=999_000_000)}, "expired_key"),
        ({"key": key(), "presented": key(blocked=True)}, "blocked_key"),
        ({}, "invalid_api_key"),
    ],
)
def test_what_is_over_is_refused(facts, code):
    """With a code for each reason, and never a digest."""
    known = known_of(DIGEST, Facts(**facts) if facts else None, Terms(), NOW_S)

    assert known.caller is None
    assert known.refused is not None
    assert known.refused[1] == code
    assert DIGEST not in known.refused[0]


def test_more_money_for_a_time_is_more_until_then():
    """And from then on the key is judged anew."""
    fields = {"max_budget": 1, "temp_budget_increase": 4, "temp_budget_expiry": "1970-01-01T00:20:00Z"}

    during = known_of(DIGEST, Facts(key=key(fields)), Terms(), 1_199.0)
    after = known_of(DIGEST, Facts(key=key(fields)), Terms(), 1_200.0)

    assert during.caller is not None
    assert after.caller is not None
    assert (during.caller.scopes[0].max_nano, during.turn_s) == (5 * NANO, 1_200.0)
    assert (after.caller.scopes[0].max_nano, after.turn_s) == (NANO, float("inf"))


def test_what_a_key_depends_on_is_known():
    """So that a change of any of it reaches the key."""
    facts = Facts(
        key=key(user_id="u", team_id="t", budget_id="b"),
        team=team(organization_id="o", budget_id="b2"),
        user=user(budget_id="b3"),
    )

    assert known_of(DIGEST, facts, Terms(), NOW_S).parts == {
        ("key", DIGEST),
        ("user", "u"),
        ("team", "t"),
        ("team_member", "t/u"),
        ("organization", "o"),
        ("budget", "b"),
        ("budget", "b2"),
        ("budget", "b3"),
    }


@pytest.mark.parametrize(
    ("role", "meant"),
    [("proxy_admin", Role.ADMIN), ("proxy_admin_viewer", Role.VIEWER), ("", Role.USER), ("team", Role.USER)],
)
def test_a_key_may_what_its_user_may(role, meant):
    """A role that nobody knows is a plain user's."""
    assert caller(key=key(user_id="u"), user=user(role=role)).role is meant


def test_a_key_without_a_user_is_a_plain_users():
    """It is nobody's, so it administrates nothing."""
    assert caller(key=key()).role is Role.USER


def test_tags_routes_and_turns_in_a_queue_come_from_the_key():
    """Tags from both places where clients put them, each once."""
    fields = {"metadata": {"tags": ["a", "b"], "priority": 3, "weight": 2.5}, "tags": ["b"], "key_type": "llm_api"}

    found = caller(key=key(fields))

    assert (found.tags, found.priority, found.weight) == (("a", "b"), 3, 2.5)
    assert found.allowed_routes == ("llm_api_routes",)


@pytest.mark.parametrize(
    ("names", "name", "allowed"),
    [
        ({"a"}, "a", True),
        ({"a"}, "ab", False),
        ({"*"}, "anything", True),
        ({"openai/*"}, "openai/gpt-4o", True),
        ({"openai/*"}, "azure/gpt-4o", False),
        ({"no-default-models"}, "a", False),
    ],
)
def test_a_set_of_names_allows_names_and_beginnings(names, name, allowed):
    """`*` alone is all."""
    assert allows(frozenset(names), name) is allowed


def test_a_budget_below_nothing_is_used_up():
    """It is no budget without end."""
    assert scope_of("key", "k", "", {"max_budget": -1}, "UTC").max_nano == 0


def test_a_teams_tags_are_those_of_its_keys():
    """Behind the key's own, from either of the two places that clients put them in."""
    crew = team({"metadata": {"tags": ["paid", "a"]}, "tags": ["fast"]})

    found = caller(key=key({"metadata": {"tags": ["a"]}}, team_id="t"), team=crew)

    assert found.tags == ("a", "paid", "fast")


def test_a_team_may_have_several_budgets_at_a_time():
    """Each for a period of its own, counted apart from the others."""
    crew = team({"budget_limits": [{"budget_duration": "1d", "max_budget": 2}, {"budget_duration": "30d"}]})

    found = caller(key=key(team_id="t"), team=crew).scopes

    assert [(each.kind, each.id, each.max_nano, each.period) for each in found][1:] == [
        ("team", "t", None, None),
        ("team_window", "t/1d", 2 * NANO, Period(text="1d")),
        ("team_window", "t/30d", None, Period(text="30d")),
    ]


def test_a_budget_too_small_to_be_counted_lets_a_first_request_pass():
    """It is no budget of nothing, which would refuse every request."""
    tiny, nothing = (scope_of("key", "k", "", {"max_budget": usd}, "UTC").max_nano for usd in (0.000_000_000_1, 0.0))

    assert (tiny, nothing) == (1, 0)
