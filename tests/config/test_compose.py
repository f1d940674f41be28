"""Events become a tree, and what YAML would pass over in silence becomes a problem."""

import pytest

from proxy_cli.config.problem import Severity
from proxy_cli.config.scalar import Scalar, plain
from proxy_cli.config.source import parse
from proxy_cli.shapes import Json


def lines(source: str) -> list[str]:
    return [str(problem) for problem in parse(source.encode(), "c.yaml")[1]]


def values(source: str) -> Json:
    found, problems = parse(source.encode(), "c.yaml")
    assert found is not None, problems
    return plain(found.values)


@pytest.mark.row("C-04")
def test_a_double_key_at_the_top_is_an_error_with_both_lines():
    """Neither of the two wins in silence."""
    (line,) = lines("model_list: 1\nb: 2\nmodel_list: 3\n")

    assert line.startswith('c.yaml:3:1: model_list: duplicate key "model_list": it is set on line 1 already')
    assert line.endswith(" - keep one of the two, on line 1 or line 3")


@pytest.mark.row("C-05")
def test_a_double_key_further_down_is_told_by_its_path():
    """The path says which of the entries has it twice."""
    source = "model_list:\n  - litellm_params:\n      model: a\n      api_base: b\n      model: c\n"

    assert lines(source)[0].startswith('c.yaml:5:7: model_list[0].litellm_params.model: duplicate key "model"')
    assert "on line 3 already" in lines(source)[0]


@pytest.mark.row("C-22")
@pytest.mark.parametrize(
    ("value", "number"), [("22:22", "1342"), ("1:30", "90"), ("-1:00:00", "-3600"), ("1:30.5", "90.5")]
)
def test_base_60_is_an_error_in_mappings_and_lists(value, number):
    """YAML 1.1 makes another number of it; a text needs quotes, and a number its digits."""
    said = f"sexagesimal number: YAML reads it to base 60 - quote it if it is a text, else write {number}"
    assert lines(f"port: {value}\n") == [f"c.yaml:1:7: port: {said}"]
    assert lines(f"a:\n  - {value}\n") == [f"c.yaml:2:5: a[0]: {said}"]


@pytest.mark.row("C-22")
@pytest.mark.parametrize("value", ['"22:22"', "'1:30'", "!!str 22:22", "a:22", "127.0.0.1:4000", "|\n  22:22"])
def test_times_in_quotes_and_ordinary_colons_are_fine(value):
    """Only what YAML 1.1 takes for a number counts."""
    assert lines(f"port: {value}\n") == []


@pytest.mark.row("C-23")
@pytest.mark.parametrize("word", ["no", "on", "yes", "Off", "true"])
def test_an_unquoted_boolean_keeps_its_word_and_is_told_as_boolean(word):
    """So that whoever wants a name can say that this is none."""
    found, _ = parse(f"model_name: {word}\non: 1\n".encode(), "c.yaml")

    assert found is not None
    assert found.values["model_name"] == Scalar(word, False, "bool")
    assert "on" in found.values


@pytest.mark.row("C-24")
def test_a_date_is_the_text_that_was_written():
    """An API version is no day."""
    assert values("api_version: 2024-10-21\nat: 2024-10-21T10:00:00Z\n") == {
        "api_version": "2024-10-21",
        "at": "2024-10-21T10:00:00Z",
    }


@pytest.mark.row("C-25")
def test_a_leading_zero_is_kept_with_a_warning():
    """`0123` is 83 to YAML 1.1: it stays what was written, and that is said."""
    found, problems = parse(b"a: 0123\nb: 4.1\nc: '0123'\n", "c.yaml")

    assert found is not None
    assert [value.text for value in found.values.values() if isinstance(value, Scalar)] == ["0123", "4.1", "0123"]
    assert [(problem.place.line, problem.severity) for problem in problems] == [(1, Severity.WARNING)]


@pytest.mark.row("C-28")
def test_an_undefined_alias_is_named_with_the_near_one():
    """The likely anchor is offered."""
    assert lines("x: &defaults {a: 1}\ny: *defautls\nz: *other\n") == [
        "c.yaml:2:4: y: undefined alias *defautls - did you mean *defaults?",
        'c.yaml:3:4: z: undefined alias *other - define it with & first, or quote a value that begins with "*"',
    ]


@pytest.mark.row("C-29")
@pytest.mark.parametrize("source", ["a: &a [*a]\n", "a: &a {b: *a}\n", "&r\na: {b: [*r]}\n", "a: &a\n  <<: *a\n"])
def test_a_recursive_alias_is_refused(source):
    """A value that contains itself has no end."""
    assert "recursive alias" in lines(source)[0]


def test_aliases_and_anchors_are_resolved():
    """Scalars, lists, mappings and keys may be aliases."""
    assert values("a: &x 1\nb: &y [*x, 2]\nc: *y\nd: {*x : 5}\n&k e: *k\n") == {
        "a": 1,
        "b": [1, 2],
        "c": [1, 2],
        "d": {"1": 5},
        "e": "e",
    }


def test_merges_give_way_to_what_is_written_and_to_earlier_merges():
    """As YAML's merge key has it: the mapping itself, then the first of the merged."""
    source = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  c: 3\nq:\n  c: 4\n  <<: {c: 5, d: 6}\n"

    assert values(source)["z"] == {"a": 1, "b": 1, "c": 3}
    assert values(source)["q"] == {"c": 4, "d": 6}


def test_a_quoted_merge_sign_is_an_ordinary_key():
    """Only the plain `<<` merges."""
    assert values("'<<': 1\n") == {"<<": 1}


@pytest.mark.parametrize("source", ["<<: 5\n", "a: {<<: [1]}\n", "a: {<<: }\n"])
def test_only_mappings_can_be_merged(source):
    """All else is told with an example."""
    assert "`<<` merges mappings only" in lines(source)[0]


@pytest.mark.parametrize("source", ["[a]: b\n", "? {c: d}\n: e\n", "{[a]: b}\n"])
def test_a_key_that_is_no_word_is_refused_and_the_rest_is_read(source):
    """A list or mapping as key is a slip of brackets."""
    assert "a key must be one word" in lines(source)[0]


def test_an_empty_key_is_refused():
    """A quoted nothing is no name."""
    assert "a key is missing before the colon" in lines("'': 1\n")[0]


@pytest.mark.row("C-26")
@pytest.mark.parametrize("source", ["a:\n  - *\n", "model_name: *\n", "a: [*, b]\n", "a: */*\n", "a: *-x\n"])
def test_an_unquoted_wildcard_gets_the_hint_to_quote_it(source):
    """`*` begins an alias; whoever means every model needs quotes."""
    assert "quote" in lines(source)[0]
    assert '"*"' in lines(source)[0]


@pytest.mark.row("C-30")
def test_ten_thousand_uses_of_one_anchor_are_within_the_budget():
    """The budget is for bombs, not for shared defaults."""
    source = "d: &d {a: 1, b: 2, c: 3, d: 4}\nlist:\n" + "  - {<<: *d, name: x}\n" * 10_000

    assert len(values(source)["list"]) == 10_000


@pytest.mark.row("C-32")
def test_aliases_cannot_nest_deeper_than_what_is_written():
    """Short lines that each wrap the one before would be as deep as they are many."""
    rows = [f"a{n}: &a{n} [[[[[[[[*a{n - 1}]]]]]]]]" for n in range(1, 12)]

    assert "nests deeper than 64 levels" in lines("\n".join(["a0: &a0 x", *rows]))[0]


def test_more_keys_and_values_than_any_config_are_refused():
    """A file of tiny values within the size limit would still take long."""
    assert "more than 600,000 keys and values" in lines("a: [" + "1," * 700_000 + "1]")[0]


def test_an_entry_without_its_dash_is_one_problem():
    """Its first key comes again, and so would all the others."""
    source = """\
list:
  - name: a
    params: {}
    name: b
    params: {}
"""
    (line,) = lines(source)

    assert line.startswith('c.yaml:4:5: list[0].name: duplicate key "name"')
    assert 'begin the next entry with "- " on line 4' in line


def test_an_alias_that_is_not_defined_is_said_once_in_a_merge():
    """That nothing can be merged only follows from it."""
    assert len(lines("a:\n  <<: *nowhere\n")) == 1
