"""Tags say what a plain value is, and nothing else."""

import pytest

from proxy_cli.config.scalar import Scalar
from proxy_cli.config.source import parse
from proxy_cli.config.tags import STANDARD, BadTag, tagged, unknown


def lines(source: str) -> list[str]:
    return [str(problem) for problem in parse(source.encode(), "c.yaml")[1]]


@pytest.mark.parametrize(
    ("tag", "text", "scalar"),
    [
        (f"{STANDARD}str", "5", Scalar("5", True, "text")),
        ("!", "5", Scalar("5", True, "text")),
        (f"{STANDARD}timestamp", "2024-10-21", Scalar("2024-10-21", True, "text")),
        (f"{STANDARD}int", "5", Scalar("5", False, "int")),
        (f"{STANDARD}float", "5", Scalar("5", False, "float")),
        (f"{STANDARD}bool", "no", Scalar("no", False, "bool")),
        (f"{STANDARD}null", "", Scalar("", False, "null")),
    ],
)
def test_the_plain_tags_are_taken(tag, text, scalar):
    """What YAML's own schema knows keeps its meaning."""
    assert tagged(tag, text, private=False) == scalar


def test_a_tag_that_does_not_fit_its_value_is_refused():
    """`!!int x` is a slip of one or the other."""
    with pytest.raises(BadTag, match="!!int does not fit"):
        tagged(f"{STANDARD}int", "x", private=False)


@pytest.mark.row("C-34")
@pytest.mark.parametrize("tag", ["python/object/apply:os.system", "python/name:os.system", "python/tuple"])
def test_python_tags_are_refused(tag):
    """On mappings, lists and values alike; the tag is not repeated."""
    for value in ("x", "[x]", "{x: y}"):
        (line,) = lines(f"a: !!{tag} {value}\n")
        assert line == (
            "c.yaml:1:4: a: Python tags are refused: a config is data - remove the tag and write a plain value"
        )


@pytest.mark.row("C-35")
@pytest.mark.parametrize("tag", ["!env", "!ENV", "!env_var", "!secret"])
def test_a_tag_for_variables_is_told_the_way_that_works_here(tag):
    """The cure names `os.environ/`."""
    (line,) = lines(f"a: {tag} X\n")

    assert f"unknown tag {tag}" in line
    assert "os.environ/NAME" in line


@pytest.mark.row("C-35")
def test_a_tag_for_other_files_is_told_the_way_that_works_here():
    """The cure names the `include:` key."""
    (line,) = lines("a: !include other.yaml\n")

    assert "unknown tag !include" in line
    assert "`include:`" in line


@pytest.mark.row("C-35")
@pytest.mark.parametrize("source", ["a: !!binary aGk=\n", "a: !!set {b}\n", "a: !!omap [b: 1]\n", "a: !x y\n"])
def test_all_other_tags_are_unknown(source):
    """They are named, so that they can be found."""
    (line,) = lines(source)

    assert "unknown tag !" in line


@pytest.mark.row("C-59")
def test_a_private_tag_is_not_repeated():
    """A password that begins with `!` looks like a tag."""
    assert unknown("!hunter2", private=True).message == "unknown tag"
    assert unknown("!sk-abcdef", private=False).message == "unknown tag"
