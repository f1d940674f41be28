"""Which models a caller may ask for."""

import msgspec
import pytest

from proxy_cli.access.grants import Names
from proxy_cli.access.models import admitted, may_ask, model_for
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import ModelDenied
from proxy_cli.shapes import Call, Controls, Operation, Target

GROUPS = {"gpt-4o": ("beta",), "fast": ("gpt-4o-mini",)}


def words(name):
    return GROUPS.get(name, ())


def caller(*sets, **more):
    return Caller(role=Role.USER, models=tuple(Names(names, whose) for whose, names in sets), **more)


def call(model, who, **controls):
    return Call(
        request_id="r", operation=Operation.CHAT, model=model, body=b"{}", controls=Controls(**controls), caller=who
    )


@pytest.mark.parametrize(
    ("sets", "name", "allowed"),
    [
        ((), "anything", True),
        (([("key", {"a"})]), "a", True),
        (([("key", {"a"})]), "b", False),
        (([("key", {"a", "b"}), ("team", {"b"})]), "a", False),
        (([("key", {"a", "b"}), ("team", {"b"})]), "b", True),
        (([("key", {"beta"})]), "gpt-4o", True),
        (([("key", {"gpt-4o-mini"})]), "fast", True),
        (([("key", {"openai/*"})]), "openai/o1", True),
    ],
)
def test_a_model_is_allowed_by_name_group_or_beginning_and_by_all(sets, name, allowed):
    """Each set that there is must allow it."""
    assert may_ask(caller(*sets), name, words) is allowed


@pytest.mark.parametrize(("whose", "said"), [("key", "This key"), ("team", "The team 'T'"), ("org", "This key's org")])
def test_a_refusal_says_who_does_not_allow_it(whose, said):
    """In the message for people, and in the type for programs."""
    who = caller((whose, {"a"}), team_alias="T")

    with pytest.raises(
        ModelDenied, match=f"^{whose} not allowed to access model. {said} may not ask for 'b'; allowed: a$"
    ) as caught:
        model_for(who, "b", words)

    assert (caught.value.status, caught.value.kind) == (403, f"{whose}_model_access_denied")
    assert (caught.value.param, caught.value.code) == ("model", "403")


def test_the_status_of_a_refusal_is_a_setting():
    """Older clients look for 401."""
    with pytest.raises(ModelDenied) as caught:
        model_for(caller(("key", {"a"})), "b", words, status=401)

    assert caught.value.status == 401


def test_an_alias_is_resolved_and_what_it_stands_for_is_judged():
    """So that nobody gives himself more than he has."""
    opened = caller(("team", {"a"}), aliases={"mine": "a", "more": "b"})

    assert model_for(opened, "mine", words) == "a"
    with pytest.raises(ModelDenied, match="'more'"):
        model_for(opened, "more", words)


def test_a_call_keeps_the_name_it_was_made_with():
    """The caller sees the model he asked for."""
    found = admitted(call("mine", caller(aliases={"mine": "a"})), words)

    assert (found.model, found.shown_model) == ("a", "mine")


def test_a_call_of_somebody_without_limits_is_left_as_it_is():
    """It costs nothing."""
    plain = call("a", caller())

    assert admitted(plain, words) is plain


@pytest.mark.parametrize(
    "controls",
    [
        {"fallbacks": (Target("b"),)},
        {"context_window_fallbacks": {"a": (Target("b"),)}},
        {"content_policy_fallbacks": {"*": (Target("a"), Target("b"))}},
    ],
)
def test_names_that_a_request_brings_along_are_judged_too(controls):
    """Else a fallback would lead where the model's own name does not."""
    with pytest.raises(ModelDenied, match="'b'"):
        admitted(call("a", caller(("key", {"a"})), **controls), words)


def test_a_long_name_is_shown_in_part():
    """What somebody sends does not fill the log."""
    with pytest.raises(ModelDenied) as caught:
        admitted(msgspec.structs.replace(call("x" * 5_000, caller(("key", {"a"})))), words)

    assert len(caught.value.message) < 300
