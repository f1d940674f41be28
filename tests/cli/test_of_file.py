"""The setup of a file, for commands that need no proxy."""

import pytest

from proxy_cli.cli.client import ClientOptions
from proxy_cli.cli.of_file import FileProblem, setup_of

FILE = "model_list:\n  - {model_name: a, litellm_params: {model: openai/m, mock_response: x}}\n"


def test_a_sound_file_comes_to_its_setup(tmp_path):
    """As the one that would be served."""
    file = tmp_path / "config.yaml"
    file.write_text(FILE, "utf-8")

    assert setup_of(ClientOptions(config=str(file)), {}).table.names() == ["a"]


def test_a_file_with_errors_is_told_and_ends_with_two(tmp_path, capsys):
    """What is wrong goes beside the output, with its place."""
    file = tmp_path / "config.yaml"
    file.write_text("model_list: 7\n", "utf-8")

    with pytest.raises(FileProblem, match="cannot be used") as caught:
        setup_of(ClientOptions(config=str(file)), {})

    assert caught.value.exit_code == 2
    assert "config.yaml:1:13" in capsys.readouterr().err
