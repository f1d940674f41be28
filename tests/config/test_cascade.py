"""One slip is one problem."""

import textwrap

import pytest

from proxy_cli.config.load import load


def problems(tmp_path, text):
    """Place, path and the rest of each line, without the file's name."""
    file = tmp_path / "config.yaml"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    file.chmod(0o600)
    return [str(each).removeprefix(f"{file}:") for each in load(file, {}).problems]


def test_parameters_that_are_not_indented_are_one_problem(tmp_path):
    """However many lines there are."""
    (line,) = problems(
        tmp_path,
        """\
        model_list:
          - model_name: fast
            litellm_params:
            model: openai/a
            api_base: http://localhost:8000/v1
        """,
    )

    assert line.startswith("3:20: model_list[0].litellm_params: has nothing below it, and beside it: model, api_base")
    assert line.endswith(" - indent model, api_base further")


def test_parameters_without_their_section_are_one_problem(tmp_path):
    """At the first of them."""
    (line,) = problems(tmp_path, "model_list:\n  - {model_name: fast, model: openai/a, api_key: 12345678}\n")

    assert line == (
        "2:24: model_list[0].model: litellm_params is missing above model, api_key"
        " - write litellm_params: above, and indent model, api_key below it"
    )


def test_an_entry_that_a_dash_has_cut_is_one_problem(tmp_path):
    """Neither half is a deployment."""
    (line,) = problems(
        tmp_path,
        """\
        model_list:
          - model_name: fast
          - litellm_params:
              model: openai/a
        """,
    )

    assert line.startswith("3:5: model_list[1]: begins with litellm_params")
    assert line.endswith(" - take the dash away, so that both are one entry")


@pytest.mark.parametrize(
    ("entry", "place", "cure"),
    [
        ("{model_name: a, litellm_params: {modle: openai/a}}", "2:38", 'did you mean "model"?'),
        ("{model_name: a, litellm_param: {model: openai/a}}", "2:21", 'did you mean "litellm_params"?'),
        ("{model_name: a, params: {model: openai/a}}", "2:21", 'did you mean "litellm_params"?'),
        ("{modelname: a, litellm_params: {model: openai/a}}", "2:6", 'did you mean "model_name"?'),
        ("{name: a, litellm_params: {model: openai/a}}", "2:6", 'did you mean "model_name"?'),
        ("{model\u200b_name: a, litellm_params: {model: openai/a}}", "2:11", "remove it"),
        ("{litellm_settings: {drop_params: true}}", "2:6", "it belongs further left"),
    ],
)
def test_what_is_misspelt_is_not_missing_as_well(tmp_path, entry, place, cure):
    """The cure of the one cures the other."""
    found = problems(tmp_path, f"model_list:\n  - {entry}\n")
    errors = [line for line in found if cure in line]

    assert len(errors) == 1
    assert errors[0].startswith(f"{place}: ")
    assert not any("is missing" in line for line in found)


@pytest.mark.parametrize("line", ["num_retries: -3", "cache_params: redis", "fallbacks: fast", "set_verbose: 7"])
def test_what_is_wrong_is_not_unsupported_as_well(tmp_path, line):
    """That is said when the value is right."""
    text = f"model_list:\n  - {{model_name: a, litellm_params: {{model: openai/a}}}}\nlitellm_settings:\n  {line}\n"

    (said,) = problems(tmp_path, text)

    assert "warning" not in said


def test_nothing_is_said_of_a_key_whose_address_is_wrong(tmp_path):
    """`none` is no key for the provider's own host, and right for the host that was meant."""
    params = "{model: openai/a, api_bse: http://localhost:8000/v1, api_key: none}"

    (said,) = problems(tmp_path, f"model_list:\n  - {{model_name: a, litellm_params: {params}}}\n")

    assert 'did you mean "api_base"?' in said


def test_other_errors_of_a_misshapen_entry_are_said(tmp_path):
    """Only what follows from the shape is left out."""
    found = problems(
        tmp_path, "model_list:\n  - {model_name: a, model: openai/a, model_info: {mode: chatt}}\nrouter_setings: {}\n"
    )

    assert [line.split(": ")[0] for line in found] == ["2:21", "2:57", "3:1"]
