"""Comments that cut a secret."""

import pytest

from proxy_cli.config.problem import Severity
from proxy_cli.config.source import parse


def warnings(source: str) -> list[str]:
    found, problems = parse(source.encode(), "c.yaml")
    assert found is not None
    assert all(problem.severity is Severity.WARNING for problem in problems)
    return [str(problem) for problem in problems]


@pytest.mark.row("C-27")
def test_a_comment_that_cuts_a_key_is_a_warning_at_its_sign():
    """YAML reads nothing after the blank; the key arrives short."""
    (line,) = warnings("m:\n  - params:\n      api_key: sk-abc #def\n")

    assert line.startswith("c.yaml:3:23: warning: m[0].params.api_key: a comment cuts the value")
    assert " - quote the whole value" in line


@pytest.mark.row("C-27")
@pytest.mark.parametrize(
    "source",
    ["password: a #b\n", "password: #b\n", "database_url: postgres://u:p #w@host/db\n", "  api_key: a\t#b\n",
     "x: &x {a: 1}\nmaster_key: a b #c\ny: *x\n"],
)  # fmt: skip
def test_passwords_and_urls_with_passwords_are_looked_at_too(source):
    """Whatever a secret's setting is called."""
    assert len(warnings(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "api_key: sk-abc # the team's key\n",
        "api_key: os.environ/KEY #prod\n",
        "api_key: 'sk-abc #def'\n",
        'api_key: "sk-abc" #def\n',
        "api_key: sk-abc#def\n",
        "timeout: 5 #seconds\n",
        "model_name: gpt-4 #fast\n",
        "a: 1\n# api_key: sk-abc #def\n",
        "prompt: |\n  api_key: sk-abc #def\n",
        "prompt: 'x\n  api_key: sk-abc #def'\n",
        "api_base: http://localhost:8000/v1 #local\n",
        "api_base: http://localhost:8000 #local\n",
        "max_tokens: 5 #x\n",
    ],
)
def test_ordinary_comments_and_quoted_signs_are_fine(source):
    """People comment their files; only what looks like a cut is told."""
    assert warnings(source) == []


@pytest.mark.row("C-59")
def test_neither_half_of_a_cut_secret_is_printed():
    """The part in the comment is as secret as the part before it."""
    (line,) = warnings("password: correct-horse #battery-staple\n")

    assert "horse" not in line
    assert "battery" not in line
