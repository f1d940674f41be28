"""Masking: secrets are found by header name, by value and by look, and everyday text is left alone."""

import pytest

from proxy_cli.secret import Scrubber, Secret
from proxy_cli.telemetry.masking import Mask, masked_headers, without_keys

KEY = "sk-abcdefghijklmnopqrstuvwx"


@pytest.mark.row("P-06")
@pytest.mark.parametrize(
    "name",
    [
        "authorization", "Authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key",
        "x-litellm-api-key", "cookie", "set-cookie", "x-my-secret", "ocp-apim-subscription-key",
    ],
)  # fmt: skip
def test_headers_with_secrets_lose_their_value(name):
    """Each header that carries a credential is shown without it."""
    assert masked_headers(((name, "hunter2"),)) == ((name, "***"),)


@pytest.mark.row("P-06")
def test_scheme_of_a_header_stays():
    """Whether a key is sent as Bearer is worth seeing; the key is not. Other headers stay."""
    headers = (("authorization", f"Bearer {KEY}"), ("content-type", "application/json"))

    assert masked_headers(headers) == (("authorization", "Bearer ***"), ("content-type", "application/json"))


@pytest.mark.row("P-06")
@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2hunter2",
        "authorization=hunter2hunter2",
        '{"Authorization": "Bearer hunter2hunter2"}',
        r"{\"authorization\": \"Bearer hunter2hunter2\"}",
        "the header was Bearer hunter2hunter2",
        "x-api-key: hunter2hunter2",
        "api-key=hunter2hunter2",
        '{"api_key": "hunter2hunter2"}',
        '{"aws_secret": "hunter2hunter2", "db_password" : "hunter2hunter2"}',
        "GET /v1beta/models?key=hunter2hunter2&alt=sse",
        "https://user:hunter2hunter2@host/path",
        "Incorrect API key provided: sk-hunter2hunter2hunter2",
        "token gsk_hunter2hunter2hunter2",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text):
    """Credentials are recognised in headers, JSON, addresses and messages that nobody told us of."""
    assert "hunter2" not in Mask().hide(text)


@pytest.mark.parametrize(
    "text",
    [
        "litellm_params.api_key: no such setting",
        "POST /v1/chat/completions?stream=true gpt -> vicuna @ http://localhost:20080 12+3 tokens key=sk-…7890",
        "日本の都道府県名 = 47; see https://example.com/a?b=c",
        '{"max_tokens": "5", "monkey": "see"}',
        "api_key: os.environ/OPENAI_API_KEY",
    ],
)
def test_everyday_text_is_left_alone(text):
    """Text without a secret comes out as it went in."""
    assert Mask().hide(text) == text


@pytest.mark.row("P-06")
def test_known_secrets_are_hidden_wherever_they_stand():
    """A secret of the config is found by its value, without any word around it that gives it away."""
    mask = Mask(Scrubber([Secret("correct horse battery")]))

    assert mask.hide("echo: correct horse battery!") == "echo: ***!"


@pytest.mark.parametrize("word", ["sk-test", "task-1234567890123456", "sk-…7890", "skill"])
def test_a_text_without_a_key_keeps_its_words(word):
    """Hints, names and short words are no keys."""
    assert without_keys(f"about {word} and sk-abcdefghij1234567890") == f"about {word} and sk-***"
