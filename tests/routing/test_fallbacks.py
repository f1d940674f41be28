import json

import msgspec
import pytest

from proxy_cli.errors import InvalidRequest
from proxy_cli.routing.fallbacks import Ways, asked_failure, redirected, special_targets, targets
from proxy_cli.routing.kinds import Kind, kind_of
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Controls, Target
from tests.routing.calls import asking, call


def named(*names):
    return tuple(map(Target, names))


def walked(asked, rules, kind=Kind.INTERNAL):
    """The names that are asked when every one fails."""
    ways, found = Ways(asked, rules), []
    ways.open(kind, asked.model, asked.model, 0)
    while (way := ways.next()) is not None:
        found.append(way.target.model)
        ways.open(kind, way.target.model, way.target.model, way.depth)
    return found


RULES = Rules(
    fallbacks={"a": named("b"), "group": named("g"), "*": named("z")},
    context_window_fallbacks={"a": named("long")},
    content_policy_fallbacks={"*": named("free")},
)


@pytest.mark.parametrize(
    ("kind", "names", "found"),
    [
        (Kind.INTERNAL, ("a", "a"), ["b"]),
        (Kind.INTERNAL, ("alias", "group"), ["g"]),
        (Kind.INTERNAL, ("else", "else"), ["z"]),
        (Kind.BAD_REQUEST, ("a", "a"), ["b"]),
        (Kind.CONTEXT_WINDOW, ("a", "a"), ["long"]),
        (Kind.CONTEXT_WINDOW, ("else", "else"), ["z"]),
        (Kind.CONTENT_POLICY, ("a", "a"), ["free"]),
    ],
)
def test_a_name_has_fallbacks_of_its_own_then_its_groups_then_anybodys(kind, names, found):
    """And a kind of failure that has fallbacks of its own has those first."""
    assert [each.model for each in targets(kind, names, call(), RULES)] == found


def test_the_requests_fallbacks_stand_for_the_configured_ones():
    """Each of the three kinds is replaced by itself, also by none."""
    asked = call(controls=Controls(fallbacks=named("x"), context_window_fallbacks={"a": named("y")}))
    none = call(controls=Controls(fallbacks=(), content_policy_fallbacks={}))

    assert targets(Kind.INTERNAL, ("a", "a"), asked, RULES) == named("x")
    assert targets(Kind.CONTEXT_WINDOW, ("a", "a"), asked, RULES) == named("y")
    assert targets(Kind.CONTENT_POLICY, ("a", "a"), asked, RULES) == named("free")
    assert targets(Kind.INTERNAL, ("a", "a"), none, RULES) == ()
    assert targets(Kind.CONTENT_POLICY, ("a", "a"), none, RULES) == ()


def test_only_two_kinds_have_fallbacks_of_their_own():
    """For all others retries come first."""
    assert [kind for kind in Kind if special_targets(kind, ("a", "a"), call(), RULES)] == [
        Kind.CONTENT_POLICY,
        Kind.CONTEXT_WINDOW,
    ]


@pytest.mark.row("C-45")
def test_a_ring_of_fallbacks_ends():
    """Each name is asked once, the one that was asked for too."""
    ring = Rules(fallbacks={"a": named("b", "a"), "b": named("c"), "c": named("a", "b")})

    assert walked(call(), ring) == ["b", "c"]


@pytest.mark.row("C-45")
def test_a_long_chain_is_cut():
    """Not more than five steps from the name that was asked for, or as many as the request says."""
    chain = Rules(fallbacks={str(number): named(str(number + 1)) for number in range(50)})

    assert walked(call(model="0"), chain) == ["1", "2", "3", "4", "5"]
    assert walked(call(model="0", controls=Controls(max_fallbacks=2)), chain) == ["1", "2"]
    assert walked(call(model="0", controls=Controls(max_fallbacks=0)), chain) == []


def test_a_list_is_asked_in_its_order_and_what_stands_in_for_one_comes_before_the_next():
    """However long the list is: it is one step."""
    rules = Rules(fallbacks={"a": named(*"bcdefgh"), "b": named("b2")})

    assert walked(call(), rules) == ["b", "b2", *"cdefgh"]


def test_a_request_may_forbid_fallbacks():
    """`disable_fallbacks` counts for all kinds."""
    for kind in Kind:
        assert walked(call(controls=Controls(no_fallbacks=True)), RULES, kind) == []


def test_the_same_name_with_other_fields_is_another_way():
    """A request may ask the model once more with shorter messages."""
    shorter = Target("a", {"messages": msgspec.Raw(b"[]")})
    asked = call(controls=Controls(fallbacks=(Target("a"), shorter, shorter)))

    assert walked(asked, Rules()) == ["a"]


def test_a_call_for_another_name_keeps_its_bytes():
    """Who sends it sets the model; without other fields there is nothing to change."""
    before = call(asking("hi"))

    after = redirected(before, Target("b"))

    assert (after.model, after.body) == ("b", before.body)


def test_the_caller_sees_the_name_that_was_asked_for_first():
    """However many names were asked instead, and whatever fields went with them."""
    target = Target("c", {"seed": msgspec.Raw(b"7")})

    after = redirected(redirected(call(asking("hi")), Target("b")), target)

    assert (after.model, after.shown_model) == ("c", "a")


def test_the_fields_of_a_fallback_are_laid_over_the_body():
    """One is replaced and one added; the others stay, in the body and in what is known of it."""
    target = Target("b", {"temperature": msgspec.Raw(b"0"), "seed": msgspec.Raw(b"7")})

    after = redirected(call(asking("hi", temperature=1)), target)

    wanted = {"model": "a", **asking("hi", temperature=0, seed=7)}
    assert isinstance(after.body, bytes)
    assert json.loads(after.body) == wanted
    assert {name: json.loads(bytes(raw)) for name, raw in after.fields.items()} == wanted


class Form:
    """As much of an upload as is looked at: that it is none of JSON."""

    content_type = "multipart/form-data; boundary=b"

    def rewritten(self, model, defaults):
        raise NotImplementedError

    def close(self):
        pass


def test_a_form_goes_to_another_name_but_takes_no_fields():
    """Its fields may be on their way already, so this way is refused and says so."""
    form = msgspec.structs.replace(call(), body=Form())

    assert redirected(form, Target("b")).model == "b"
    with pytest.raises(InvalidRequest, match="'b' sets 'language'"):
        redirected(form, Target("b", {"language": msgspec.Raw(b'"en"')}))


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ({"mock_testing_fallbacks"}, Kind.INTERNAL),
        ({"mock_testing_context_fallbacks"}, Kind.CONTEXT_WINDOW),
        ({"mock_testing_content_policy_fallbacks"}, Kind.CONTENT_POLICY),
        ({"mock_testing_rate_limit_error"}, Kind.RATE_LIMIT),
        ({"mock_testing_fallbacks", "mock_testing_context_fallbacks"}, Kind.CONTEXT_WINDOW),
    ],
)
def test_a_failure_that_is_asked_for_is_of_the_kind_that_is_named(names, kind):
    """The more particular one where a request names two."""
    assert kind_of(asked_failure(frozenset(names))) is kind
