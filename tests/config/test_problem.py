"""Problems as lines that an editor can jump to."""

import json

import pytest

from proxy_cli.config.problem import Place, Problem, Severity, did_you_mean, dotted


def test_a_problem_reads_as_place_path_message_and_cure():
    """One line says where, what and how to cure it."""
    problem = Problem(
        Place("config.yaml", 7, 12), "no such setting", 'did you mean "model"?', "model_list[1].litellm_params.modle"
    )

    assert str(problem) == (
        'config.yaml:7:12: model_list[1].litellm_params.modle: no such setting - did you mean "model"?'
    )


def test_a_warning_says_so_and_what_is_empty_is_left_out():
    """An error needs no word for itself; path and cure may be missing."""
    problem = Problem(Place("c.yaml", 1, 2), "odd", severity=Severity.WARNING)

    assert str(problem) == "c.yaml:1:2: warning: odd"


def test_a_problem_for_machines_holds_all_its_parts():
    """`check --json` prints what the line says, field by field."""
    problem = Problem(Place("c.yaml", 3, 4), "odd", "mend it", "a.b", Severity.NOTE)

    assert json.loads(json.dumps(problem.as_json())) == {
        "file": "c.yaml",
        "line": 3,
        "column": 4,
        "severity": "note",
        "path": "a.b",
        "message": "odd",
        "cure": "mend it",
    }


@pytest.mark.row("C-60")
def test_problems_sort_by_file_line_and_column():
    """Numbers sort as numbers: line 10 comes after line 9."""
    places = [("b", 1, 1), ("a", 10, 1), ("a", 9, 2), ("a", 9, 1)]

    ordered = sorted(Problem(Place(*place), "odd") for place in places)

    assert [(each.place.file, each.place.line, each.place.column) for each in ordered] == sorted(places)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("model_list", 1, "litellm_params", "modle"), "model_list[1].litellm_params.modle"),
        ((), ""),
        ((0, "a"), "[0].a"),
        (("aliases", "gpt-4.1"), 'aliases["gpt-4.1"]'),
        (("モデル", "x"), "モデル.x"),
        (("a\x1b[31m",), '["a\\u001b[31m"]'),
        (("environment", "sk-abcdef123456"), "environment.<hidden>"),
        (("api_key", "hunter2", 0), "api_key.<hidden>[0]"),
    ],
)
def test_a_path_is_dotted_and_keeps_secrets(path, text):
    """Names with dots are quoted, control characters escaped, and what looks like a key is hidden."""
    assert dotted(path) == text


@pytest.mark.parametrize(
    ("word", "meant"),
    [("modle_list", "model_list"), ("api_kye", "api_key"), ("tiemout", "timeout"), ("API_KEY", "api_key"),
     ("api-key", "api_key"), ("rpn", "rpm"), ("frequency_penalty", None), ("", None)],
)  # fmt: skip
def test_only_close_words_are_offered(word, meant):
    """A slip of the finger is recognised, another word is left alone."""
    assert did_you_mean(word, ["model_list", "api_key", "timeout", "rpm"]) == meant
