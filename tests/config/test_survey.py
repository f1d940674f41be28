"""Every key has a state, and what is worth a word is said once."""

import pytest

from proxy_cli.config.problem import Severity
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.state import State
from proxy_cli.config.survey import findings, standings


def word(text, kind="text"):
    """A scalar of a kind."""
    return Scalar(text, False, kind)


def said(values):
    """Path, severity and message of all that is said."""
    return [(each.path, each.severity, each.message) for each in findings(values)]


def states(values):
    """The state of each key by its last step."""
    return {each.path[-1]: each.state for each in standings(values)}


def test_a_key_nobody_knows_is_refused_with_the_one_that_was_meant():
    """Or with the section it belongs to."""
    found = findings({"litellm_setings": {}, "router_settings": {"drop_params": word("true", "bool")}})

    assert [(each.path[-1], each.severity, each.cure) for each in found] == [
        ("litellm_setings", Severity.ERROR, 'did you mean "litellm_settings"?'),
        ("drop_params", Severity.ERROR, "it belongs below litellm_settings"),
    ]


def test_a_key_one_level_too_high_is_sent_home():
    """`api_key` beside `model_name` belongs below `litellm_params`."""
    (found,) = findings({"model_list": [{"api_key": word("x")}]})

    assert found.cure == "it belongs below model_list[].litellm_params"


def test_later_settings_are_said_when_they_ask_for_something():
    """A switch that is off asks for nothing; its state is told all the same."""
    values = {"litellm_settings": {"cache": word("true", "bool"), "modify_params": word("false", "bool")}}

    assert said(values) == [
        (("litellm_settings", "cache"), Severity.WARNING, "known, not yet supported"),
    ]
    assert states(values)["modify_params"] is State.LATER


def test_a_switch_that_is_on_by_default_is_said_when_it_is_turned_off():
    """There, `false` is what asks for something."""
    values = {"general_settings": {"health_check_details": word("false", "bool")}}

    assert [severity for _, severity, _ in said(values)] == [Severity.WARNING]


def test_the_model_that_a_wildcards_health_check_asks_for_is_heeded():
    """The health checks ask for it, so there is nothing to say."""
    assert said({"model_list": [{"model_info": {"health_check_model": word("openai/small")}}]}) == []


def test_an_ignored_setting_says_why():
    """Never without a reason."""
    values = {"litellm_settings": {"set_verbose": word("true", "bool")}}

    assert "use --debug" in said(values)[0][2]
    assert states(values)["set_verbose"] is State.IGNORED


def test_a_value_that_is_not_supported_yet_is_said():
    """The setting works, this value of it does not."""
    values = {"router_settings": {"routing_strategy": word("lar1")}}

    assert said(values)[0][2] == "lar1 is known, not yet supported"
    assert states(values)["routing_strategy"] is State.LATER


def test_what_entries_have_in_common_is_said_once():
    """At the first of them, with how many there are."""
    entry = {"litellm_params": {"itpm": word("1", "int")}}

    assert said({"model_list": [entry, entry, entry]}) == [
        (
            ("model_list", 0, "litellm_params", "itpm"),
            Severity.WARNING,
            "known, not yet supported (here and in 2 more)",
        )
    ]


def test_a_slip_inside_a_setting_that_may_be_absent_is_said():
    """As everywhere: none is passed over."""
    mirror = {"model": word("b"), "precent": word("5", "int")}

    assert states({"model_list": [{"litellm_params": {"mirror": mirror}}]}).get("precent") is None
    assert said({"model_list": [{"litellm_params": {"mirror": mirror}}]})[0][:2] == (
        ("model_list", 0, "litellm_params", "mirror", "precent"),
        Severity.ERROR,
    )


def test_errors_are_said_each_on_its_own():
    """Every one of them has to be cured."""
    entry = {"litellm_params": {"modle": word("a")}}

    assert len(said({"model_list": [entry, entry]})) == 2


def test_prices_and_notes_of_ones_own_are_no_slips():
    """The price list's names, and anything in `model_info`."""
    values = {
        "model_list": [
            {
                "litellm_params": {"input_cost_per_token_batches": word("1", "int")},
                "model_info": {"mod": word("x"), "output_cost_per_image": word("1", "int")},
            }
        ]
    }

    assert said(values) == []
    assert set(states(values).values()) == {State.USED}


@pytest.mark.parametrize("below", ["litellm_params", "model_info"])
@pytest.mark.parametrize(
    ("key", "severity", "cure"),
    [
        ("input_cost_per_tokens", Severity.WARNING, 'did you mean "input_cost_per_token"?'),
        ("output_cost_per_tokn_above_200k_tokens", Severity.WARNING, ""),
        ("cost_of_living", Severity.WARNING, "take cost_of_living out"),
        ("off_peak_pricing", Severity.WARNING, "answers are counted at the plain prices"),
    ],
)
def test_a_price_that_counts_for_nothing_is_told(below, key, severity, cure):
    """A slip in a price would cost money without a word."""
    (found,) = findings({"model_list": [{below: {key: word("1", "int")}}]})

    assert found.severity is severity
    assert found.cure.startswith(cure)


def test_a_key_of_the_body_that_looks_like_a_secret_is_refused():
    """It stands where its name should be."""
    secret = "sk-Zx81bQ0mTt5vKp93LwYd"

    (found,) = findings({"model_list": [{"litellm_params": {secret: word("1")}}]})

    assert found.severity is Severity.ERROR
    assert secret not in found.message + found.cure


def test_what_is_no_mapping_is_left_to_its_reader():
    """The walk never fails on a broken tree."""
    assert said({"model_list": word("x"), "general_settings": [word("x")]}) == []


def test_a_key_that_is_indented_too_far_is_sent_left():
    """`model_info` inside of `litellm_params` would go to the backend."""
    entry: dict[str, object] = {"litellm_params": {"model_info": {}}, "model_info": {"router_settings": {}}}
    values = {"model_list": [entry]}

    assert [(each.severity, each.cure[:26]) for each in findings(values)] == [
        (Severity.ERROR, "it belongs further left: t"),
        (Severity.ERROR, "it belongs further left: t"),
    ]


def test_a_key_that_resembles_nothing_is_warned_of():
    """LiteLLM never looks at it, so a file that has one serves; its state is told all the same."""
    values = {"general_settings": {"enable_admin_ui": word("true", "bool")}}

    (found,) = findings(values)

    assert (found.severity, found.message) == (Severity.WARNING, "no such setting, so it does nothing")
    assert found.cure.startswith("take enable_admin_ui out")
    assert states(values)["enable_admin_ui"] is State.IGNORED


def test_a_key_that_is_an_option_of_the_command_line_names_it():
    """A port in the file decides nothing."""
    (found,) = findings({"general_settings": {"port": word("4000", "int")}})

    assert found.cure == "start with --port"


def test_another_word_for_a_setting_names_the_setting():
    """`url` would go to the backend as a field of the body, and the call to another host."""
    entry = {"name": word("a"), "litellm_params": {"url": word("x"), "key": word("y")}}

    assert [(each.path[-1], each.severity, each.cure) for each in findings({"model_list": [entry]})] == [
        ("name", Severity.ERROR, 'did you mean "model_name"?'),
        ("url", Severity.ERROR, 'did you mean "api_base"?'),
        ("key", Severity.ERROR, 'did you mean "api_key"?'),
    ]


def test_a_key_of_another_section_is_not_taken_for_a_slip_of_the_pen():
    """`mode` has a place of its own, however near it is to `model`."""
    (found,) = findings({"model_list": [{"litellm_params": {"mode": word("embedding")}}]})

    assert found.cure == "it belongs below model_list[].model_info"


def test_a_section_inside_an_entry_is_sent_left():
    """It was meant to hold for all."""
    (found,) = findings({"model_list": [{"litellm_settings": {}}]})

    assert found.cure.startswith("it belongs further left")
