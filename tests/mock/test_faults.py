"""Controls: said in three places, the later ones winning, and never misread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.mock.faults import CONTROLS, NO_FAULTS, BadControl, Faults, asked, faults_of


def faults(text: str = "", *, model: str = "m") -> Faults:
    return asked(NO_FAULTS, model, (), text)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[mock status=429 retry_after=2]]", Faults(status=429, retry_after="2")),
        ("[[mock delay=0.5 gap=1 cut=3 events=20]]", Faults(delay_s=0.5, gap_s=1.0, cut=3, events=20)),
        ('[[mock {"status": 503, "times": 2, "no_done": true}]]', Faults(status=503, times=2, no_done=True)),
        ('[[mock reasoning="a b"]] [[mock drop]]', Faults(reasoning="a b", drop=True)),
        ("[[mock]]", NO_FAULTS),
        ("[mock status=500] mock status=500", NO_FAULTS),
    ],
)
def test_directive_is_read_from_the_text(text, expected):
    """Words, quoted words, switches and JSON all set their fields; what is no directive sets none."""
    assert faults(text) == expected


def test_directive_is_taken_out_of_the_text():
    """What is echoed holds no directive; text without one keeps even its blanks."""
    assert asked(NO_FAULTS, "m", (), "日本 [[mock cut=1]]")[1] == "日本"
    assert asked(NO_FAULTS, "m", (), " a ")[1] == " a "


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("mock-status-429", Faults(status=429)),
        ("mock-delay-0.5", Faults(delay_s=0.5)),
        ("mock-no-done", Faults(no_done=True)),
        ("mock-error-event-2", Faults(error_event=2)),
        ("mock-model", NO_FAULTS),
        ("mock-model-7", NO_FAULTS),
        ("status-429", NO_FAULTS),
    ],
)
def test_model_name_may_be_a_control(model, expected):
    """`mock-` and a control is one; any other name is a name."""
    assert faults(model=model) == expected


def test_later_places_win():
    """A directive counts over a header, a header over the model, all over the server's own."""
    headers = [("X-Mock-Status", "502"), ("x-mock-retry-after", "9"), ("accept", "*/*")]
    found, _ = asked(Faults(cut=5, status=500), "mock-status-501", headers, "[[mock status=503]]")

    assert found == Faults(cut=5, status=503, retry_after="9")


@pytest.mark.parametrize(
    ("directive", "said"),
    [
        ("statsu=1", "no mock control named 'statsu'"),
        ("status=99", "status does not take the value '99'"),
        ("cut=-1", "cut does not take the value '-1'"),
        ("delay=inf", "delay does not take the value 'inf'"),
        ("drop=perhaps", "drop does not take the value 'perhaps'"),
        ('reasoning="open', "cannot read the directive"),
        ('{"status": ', "cannot read the directive"),
    ],
)
def test_bad_controls_say_what_is_wrong(directive, said):
    """A slip is named with its value, never skipped."""
    with pytest.raises(BadControl) as caught:
        faults_of(directive)

    assert said in str(caught.value)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    """No text of a caller brings more than a BadControl."""
    try:
        found, rest = asked(NO_FAULTS, text, (("x-mock-cut", text),), f"a[[mock {text}]]b")
    except BadControl:
        return
    assert isinstance(found, Faults)
    assert rest.startswith("a")


def test_each_control_sets_a_field_that_exists():
    """The table and the dataclass name the same fields."""
    assert {control.field for control in CONTROLS.values()} == set(Faults.__dataclass_fields__)
