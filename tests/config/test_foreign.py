"""What people know from elsewhere is called by its name."""

import pytest

from proxy_cli.config.source import parse

ENTRY = "model_list:\n  - model_name: a\n    litellm_params: {model: openai/a}\n"


def lines(source: str) -> list[str]:
    return [str(problem).removeprefix("c.yaml:") for problem in parse(source.encode(), "c.yaml")[1]]


def test_every_mark_of_a_merge_conflict_is_told():
    """One side has to go."""
    said = lines(f"<<<<<<< HEAD\n{ENTRY}=======\n{ENTRY}>>>>>>> main\n")

    assert [line.split(": ")[0] for line in said] == ["1:1", "5:1", "9:1"]
    assert all("a mark of a merge conflict" in line for line in said)


def test_a_fence_of_markdown_is_told():
    """A file that was copied with what stood around it."""
    said = lines(f"```yaml\n{ENTRY}```\n")

    assert [line.split(": ")[0] for line in said] == ["1:1", "5:1"]


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        (f"{ENTRY}// models\n", "4:1", "// begins no comment"),
        ('{\n  // models\n  "model_list": []\n}\n', "2:3", "// begins no comment"),
        (ENTRY.replace("- model", "-model"), "2:3", "there is no space after the dash"),
        (ENTRY.replace("- model", "* model"), "2:3", "an entry of a list begins with a dash"),
        ("[general]\nmaster_key = x\n", "1:1", "this is TOML or INI"),
        ('{"a": 1\n "b": 2}\n', "1:8", "a comma is missing here"),
    ],
)
def test_a_line_of_another_language_is_told_at_its_place(source, place, words):
    """And nothing that follows from it."""
    (line,) = lines(source)

    assert line.startswith(f"{place}: ")
    assert words in line


def test_text_may_hold_what_would_be_a_slip_outside():
    """In a block they are content."""
    assert lines("a: |\n  ```\n  // x\n  =======\nb: 'x\n  // y'\n") == []


def test_a_template_is_one_problem():
    """Helm and Jinja write two braces."""
    (line,) = lines("a: {{ key }}\n")

    assert 'quote a value that begins with "{{"' in line


def test_a_packed_file_is_one_problem():
    """Not one for each of its bytes."""
    data = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x01\x05\x06"

    (problem,) = parse(data, "c.yaml")[1]

    assert problem.message.startswith("this is no text file: byte 0x8b at offset 1")


def test_a_full_width_colon_is_one_problem():
    """It is seen before the syntax breaks, and when it breaks."""
    (line,) = lines(ENTRY.replace("model_name:", "model_name："))

    assert line.startswith("2:15: U+FF1A")
