"""Rows of models: the address is the one that a request goes to."""

from dataclasses import replace

import pytest

from proxy_cli.cli.rows import model_rows
from proxy_cli.shapes import Backend, Deployment

PLAIN = Deployment(
    id="1",
    group="fast",
    model="vicuna-13b",
    provider="openai",
    backend=Backend("http", "localhost", 20080),
    base_path="/v1",
)


@pytest.mark.parametrize(
    ("mode", "path"),
    [
        (None, "chat/completions"),
        ("chat", "chat/completions"),
        ("embedding", "embeddings"),
        ("audio_transcription", "audio/transcriptions"),
        ("a mode to come", "chat/completions"),
    ],
)
def test_rows_show_the_address_of_the_models_kind(mode, path):
    """model_info.mode decides, chat where nothing is known."""
    [row] = model_rows([replace(PLAIN, mode=mode)])

    assert (row.name, row.backend_model, row.provider) == ("fast", "vicuna-13b", "openai")
    assert row.url == f"http://localhost:20080/v1/{path}"


def test_rows_show_azures_own_form_of_an_address():
    """The deployment in the path and the version in the query, as it is sent."""
    azure = replace(PLAIN, provider="azure", backend=Backend("https", "my.openai.azure.com", 443), base_path="",
                    api_version="2024-06-01")  # fmt: skip

    [row] = model_rows([azure])

    assert row.url == (
        "https://my.openai.azure.com/openai/deployments/vicuna-13b/chat/completions?api-version=2024-06-01"
    )


def test_rows_of_models_without_an_address_say_why():
    """One answers by itself, the other leaves it to the name that is asked for."""
    mocked, by_name = model_rows([replace(PLAIN, mock_response="hi"), replace(PLAIN, provider="*", model="*")])

    assert mocked.url == "mock_response"
    assert (by_name.url, by_name.provider) == ("-", "by name")
