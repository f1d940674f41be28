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


@pytest.mark.parametrize("text", ["os.environ/A B", "os.environ/A-B", "os.environ/HOST:8000"])
def test_a_name_goes_on_to_the_end_of_the_value(text):
    """What follows the name would be left out in silence."""
    (found,) = resolve({"a": word(text)}, {"A": "x", "HOST": "y"}).findings

    assert found.message == "os.environ/ is followed by more than the name of a variable"
    assert found.cure.startswith("write os.environ/NAME and nothing else")


@pytest.mark.parametrize(
    "text",
    [
        'os.environ["MY_KEY"]', "os.environ['MY_KEY']", "os.environ.MY_KEY", 'os.environ.get("MY_KEY")',
        'os.getenv("MY_KEY")', "os.environ:MY_KEY", "os.environ\\MY_KEY", "OS.ENVIRON/MY_KEY", "os.env/MY_KEY",
        "environ/MY_KEY", "env/MY_KEY", "process.env.MY_KEY", "${MY_KEY}", "$MY_KEY", "$(MY_KEY)", "${env:MY_KEY}",
        "${MY_KEY:-none}", "{{ MY_KEY }}", "%MY_KEY%", "secrets.MY_KEY",
    ],
)  # fmt: skip
def test_a_variable_written_in_another_way_is_no_key(text):
    """The words themselves would go out as the key."""
    resolved = resolve({"api_key": word(text), "mock_response": word(text)}, {"MY_KEY": "x"})

    (found,) = resolved.findings
    assert (found.path, found.cure) == (("api_key",), "write os.environ/MY_KEY")
    assert resolved.values["api_key"] is NOTHING
    assert resolved.values["mock_response"] == word(text)


@pytest.mark.parametrize("text", ["$ecret-hunter2", "$hunter2", "secretsauce", "env", "os.environmental"])
def test_a_key_that_only_begins_like_a_variable_is_a_key(text):
    """And it is never repeated."""
    assert resolve({"api_key": word(text)}, {}).findings == []


def test_a_variable_inside_an_address_is_an_error():
    """Only a whole value is looked up."""
    (found,) = resolve({"api_base": word("http://os.environ/HOST/v1")}, {"HOST": "x"}).findings

    assert found.cure == "put the whole value into one variable: os.environ/NAME"


@pytest.mark.parametrize("text", ["os.environ/", "os.environ/${A}"])
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
