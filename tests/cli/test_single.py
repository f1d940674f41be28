"""One model without a file: problems are told by its options."""

import click
import pytest

from proxy_cli.cli.single import refuse_bad_values, spoken
from proxy_cli.config.flags import Flags
from proxy_cli.server.setup import prepare


@pytest.mark.parametrize(
    ("api_base", "words"),
    [
        ("not a url", "blank"),
        ("ftp://host/v1", "http or https"),
        ("http://user:secret@host:port/v1", "--api_base"),
    ],
)
def test_single_refuses_an_address_that_is_none(api_base, words):
    """A sentence that names the option; nothing of the address that may be a password."""
    with pytest.raises(click.UsageError, match=r"^Invalid value for '--api_base'") as caught:
        refuse_bad_values(Flags(model="openai/m", api_base=api_base))

    assert words in caught.value.message
    assert "secret" not in caught.value.message


def test_single_takes_a_model_of_ones_own():
    """What can be served is not refused."""
    refuse_bad_values(Flags(model="openai/m", api_base="http://127.0.0.1:20080/v1", api_version="2024-10-21"))


def test_single_speaks_of_options_and_not_of_a_file():
    """No line, no column, no model_list; and how to send a key that is meant for this host."""
    unknown = prepare(Flags(model="nonesuch/m", local=True), {})
    unsent = prepare(Flags(model="openai/m", api_base="http://127.0.0.1:1/v1", local=True), {"OPENAI_API_KEY": "sk-1"})

    [error], [warning] = map(spoken, unknown.problems), map(spoken, unsent.problems)

    assert error.startswith('--model: no provider is called "nonesuch"')
    assert warning.startswith("--model: warning: the key in OPENAI_API_KEY is not sent to http://127.0.0.1:1")
    assert warning.endswith("""--headers '{"Authorization": "Bearer ..."}' sends a key""")
