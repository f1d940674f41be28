"""Variables in the file, and the ones it sets."""

import pytest

from proxy_cli.config.problem import Severity
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.variables import NOTHING, resolve


def word(text):
    """A text of the file."""
    return Scalar(text, False, "text")


def test_a_variable_is_replaced_wherever_it_stands():
    """In lists and mappings of any depth; the value counts as given, not as written."""
    tree = {"a": [{"b": word("os.environ/NAME")}], "c": word("plain")}

    resolved = resolve(tree, {"NAME": "value"})

    assert resolved.values["a"][0]["b"] == Scalar("value", True, "text", replaced=True)
    assert resolved.values["c"] is tree["c"]
    assert tree["a"][0]["b"].text == "os.environ/NAME"


def test_a_missing_variable_is_named_with_the_one_that_was_likely_meant():
    """A slip in the name is the usual reason."""
    resolved = resolve({"a": word("os.environ/OPENAI_API_KYE")}, {"OPENAI_API_KEY": "x"})

    (found,) = resolved.findings
    assert "OPENAI_API_KYE is not set" in found.message
    assert "did you mean OPENAI_API_KEY?" in found.cure
    assert resolved.unresolved == {("a",)}
    assert resolved.values["a"] is NOTHING


@pytest.mark.parametrize("text", ["os.environ/", "os.environ/A B", "os.environ/A-B", "os.environ/${A}"])
def test_what_is_no_name_of_a_variable_is_an_error(text):
    """It can never be set."""
    (found,) = resolve({"a": word(text)}, {}).findings

    assert found.severity is Severity.ERROR
    assert found.cure == "write os.environ/NAME"


def test_the_file_sets_variables_for_itself_and_never_for_the_process():
    """They are looked up as if they were set outside, and given back."""
    environ = {"KEEP": "1"}
    tree = {
        "environment_variables": {"NAME": word("inner"), "COPY": word("os.environ/KEEP")},
        "a": word("os.environ/NAME"),
    }

    resolved = resolve(tree, environ)

    assert resolved.values["a"].text == "inner"
    assert resolved.environ == {"KEEP": "1", "NAME": "inner", "COPY": "1"}
    assert environ == {"KEEP": "1"}


def test_what_the_process_was_given_wins_over_the_file():
    """And that is noted, without the values."""
    resolved = resolve({"environment_variables": {"NAME": word("file")}}, {"NAME": "outside"})

    assert resolved.environ["NAME"] == "outside"
    assert [(each.severity, "file" in each.message) for each in resolved.findings] == [(Severity.NOTE, False)]


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "PYTHONPATH", "HOME"])
def test_variables_that_steer_the_process_are_not_set(name):
    """A configuration file is no place for them."""
    resolved = resolve({"environment_variables": {name: word("/tmp/x")}}, {})

    assert name not in resolved.environ
    assert resolved.findings[0].severity is Severity.WARNING


def test_a_variable_inside_a_header_is_replaced():
    """`Bearer os.environ/NAME` is how keys stand in headers."""
    tree = {"extra_headers": {"authorization": word("Bearer os.environ/NAME")}, "text": word("see os.environ/NAME")}

    resolved = resolve(tree, {"NAME": "value"})

    assert resolved.values["extra_headers"]["authorization"].text == "Bearer value"
    assert resolved.values["text"].text == "see os.environ/NAME"


def test_a_section_of_the_wrong_kind_is_left_to_its_reader():
    """Nothing is set, nothing fails."""
    resolved = resolve({"environment_variables": word("x")}, {})

    assert resolved.values["environment_variables"] == word("x")
    assert resolved.environ == {}


def test_a_boolean_is_exported_as_litellm_does():
    """Programs that look for `True` find it."""
    tree = {"environment_variables": {"A": Scalar("yes", False, "bool"), "B": Scalar("5", False, "int")}}

    assert resolve(tree, {}).environ == {"A": "True", "B": "5"}
