import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import InvalidRequest
from proxy_cli.routing.checks import checked, in_region
from proxy_cli.shapes import Controls
from tests.routing.calls import asking, call
from tests.routing.test_table import deployment

SMALL = deployment("a", id="small", window=1000)
LARGE = deployment("a", id="large", window=100_000)
ANY = deployment("a", id="any")


def left(found, asked):
    reasons: dict[str, str] = {}
    return [each.id for each in checked(asked, found, reasons)], reasons


def test_a_long_prompt_goes_to_a_large_window():
    """A deployment whose window is too small is passed over, with the figures."""
    kept, reasons = left([SMALL, LARGE], call(asking("word " * 2000)))

    assert kept == ["large"]
    assert "its window has 1000" in reasons["small"]


def test_a_short_prompt_goes_anywhere():
    """What fits, fits."""
    assert left([SMALL, LARGE, ANY], call(asking("hi"))) == (["small", "large", "any"], {})


def test_the_answer_needs_room_too():
    """A prompt that fits, but not with the answer it asks for, goes to the larger window."""
    assert left([SMALL, LARGE], call(asking("hi", max_tokens=5000)))[0] == ["large"]


def test_a_long_answer_alone_is_no_reason_to_refuse():
    """Many clients ask for more than any model gives: the largest window is asked, and its server decides."""
    assert left([SMALL], call(asking("hi", max_tokens=5000))) == (["small"], {})


def test_an_unknown_window_takes_all():
    """Where nothing is said of a window, nothing is held against it."""
    assert left([SMALL, ANY], call(asking("word " * 2000)))[0] == ["any"]


def test_a_prompt_that_is_too_long_for_all_is_refused():
    """400 with the code that clients know, before anything is sent, with both figures."""
    with pytest.raises(InvalidRequest, match=r"about 2\d{3} tokens, and 'a' takes at most 1000") as caught:
        left([SMALL], call(asking("word " * 2000)))

    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "context_length_exceeded", "messages")


def test_an_estimate_that_is_only_just_over_refuses_nothing():
    """A guess may be off by a fifth: the backend counts."""
    assert left([SMALL], call(asking("word " * 880))) == (["small"], {})


@pytest.mark.parametrize("field", ["tools", "logprobs"])
def test_a_target_that_refuses_a_field_is_passed_over(field):
    """A call with tools goes to a deployment that takes them."""
    without = deployment("a", id="without", refuses=frozenset({"logprobs"}), takes_tools=False)
    kept, reasons = left([without, ANY], call(asking("hi", **{field: [1]})))

    assert kept == ["any"]
    assert reasons == {"without": f"it is known not to take {field}"}


def test_a_field_that_is_null_asks_for_nothing():
    """`tools: null` is a call without tools."""
    without = deployment("a", id="without", takes_tools=False)

    assert left([without, ANY], call(asking("hi", tools=None)))[0] == ["without", "any"]


@pytest.mark.parametrize(
    ("settings", "controls"),
    [
        ({"drop_params": True}, Controls()),
        ({}, Controls(drop_params=True)),
        ({"allowed_openai_params": frozenset({"logprobs"})}, Controls()),
        ({"additional_drop_params": ("logprobs",)}, Controls()),
        ({}, Controls(allowed_openai_params=frozenset({"logprobs"}))),
    ],
)
def test_a_field_that_is_dropped_or_let_pass_is_no_obstacle(settings, controls):
    """What does not come to the target, or is sent on the operator's word, does not count against it."""
    target = deployment("a", id="target", refuses=frozenset({"logprobs"}), **settings)

    assert left([target, ANY], call(asking("hi", logprobs=True), controls=controls))[0] == ["target", "any"]


def test_tools_that_go_into_the_prompt_are_taken():
    """add_function_to_prompt makes tools fit every target."""
    target = deployment("a", id="target", takes_tools=False, add_function_to_prompt=True)

    assert left([target], call(asking("hi", tools=[1]))) == (["target"], {})


def test_where_none_takes_a_field_all_are_left():
    """The refusal with the field's name and its cure is made where the call is prepared."""
    pair = [deployment("a", id=name, refuses=frozenset({"logprobs"})) for name in ("one", "two")]

    assert left(pair, call(asking("hi", logprobs=True))) == (["one", "two"], {})


@given(st.lists(st.none() | st.integers(1, 3000), min_size=1, max_size=5), st.integers(1, 3000))
def test_somebody_is_left_or_the_prompt_is_refused(windows, words):
    """There is never an empty choice, and whoever is left out has a reason."""
    found = [deployment("a", id=str(index), window=window) for index, window in enumerate(windows)]
    try:
        kept, reasons = left(found, call(asking("word " * words)))
    except InvalidRequest:
        assert all(window is not None and window < 3 * words + 30 for window in windows)
        return

    assert kept
    assert {each.id for each in found} == set(kept) | reasons.keys()


def test_a_region_that_the_caller_allows_is_never_left():
    """Also parts of it are inside; what nobody knows the place of is not."""
    found = [deployment("a", id=each, region=each) for each in ("eu", "EU-west-1", "europe", "us")] + [ANY]
    reasons: dict[str, str] = {}

    inside = in_region(call(asking("hi"), controls=Controls(region="Eu")), found, reasons)

    assert [each.id for each in inside] == ["eu", "EU-west-1"]
    assert reasons == dict.fromkeys(("europe", "us", "any"), "it is in another region")


@pytest.mark.parametrize(
    ("found", "known"), [([ANY], "no entry has a region_name"), ([deployment("a", region="us")], "us")]
)
def test_a_region_without_a_deployment_is_a_refusal(found, known):
    """With the regions there are."""
    with pytest.raises(InvalidRequest, match=f"no deployment of 'a' is in the region 'eu'.*{known}") as caught:
        in_region(call(asking("hi"), controls=Controls(region="eu")), found, {})

    assert (caught.value.code, caught.value.param) == ("region_not_available", "allowed_model_region")
