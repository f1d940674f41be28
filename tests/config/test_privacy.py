"""Names may be told, secrets may not."""

import pytest

from proxy_cli.config.privacy import holds_password, is_key, is_secret_name, looks_secret, shown


@pytest.mark.parametrize(
    "name",
    ["api_key", "aws_secret_access_key", "x-api-key", "DB_PASSWORD", "OPENAI_API_KEY", "vertex_credentials", "token",
     "Authorization", "master_key", "apiKey", "REDIS_PASSWORD"],
)  # fmt: skip
def test_settings_that_hold_secrets_are_known_by_name(name):
    """The last word decides, in every way of writing it."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["max_tokens", "input_cost_per_token", "key_alias", "model_name", "tpm", "", "drop_params", "日本語"]
)
def test_settings_that_only_sound_like_secrets_are_not(name):
    """Counts and prices of tokens are no tokens."""
    assert not is_secret_name(name)


@pytest.mark.row("C-59")
@pytest.mark.parametrize(
    "name",
    ["sk-abcdef", "hf_abcdefgh", "AKIAIOSFODNN7EXAMPLE", "postgres://u:hunter2@h/db", "a" * 20 + "1" * 20,
     "my sk-abcdef", "model=sk-abcdef"],
)  # fmt: skip
def test_a_name_that_looks_like_a_key_is_hidden(name):
    """A value that has come to stand where a name belongs is not repeated."""
    assert shown(name) == "<hidden>"


@pytest.mark.row("C-59")
@pytest.mark.parametrize("name", ["api_key hunter2", "api_key=hunter2", "x: api_key: hunter2", " password  hunter2 x"])
def test_a_name_that_swallowed_a_secret_ends_before_it(name):
    """A line that lost its colon became one name: it is told up to the setting's own name."""
    assert "hunter2" not in shown(name)
    assert shown(name).endswith("…")


@pytest.mark.parametrize("name", ["model_list", "openai/*", "gpt 4 turbo", "task-force", "日本語モデル", "a-b-c-1"])
def test_everyday_names_are_shown_as_they_are(name):
    """Model names of every script can be read in messages."""
    assert shown(name) == name


def test_a_name_is_shown_on_one_short_line():
    """Neither a line break nor an escape sequence nor a long text reaches the terminal."""
    assert shown("a\nb\x1b[31m") == "a\\u000ab\\u001b[31m"
    assert len(shown("word-" * 1000)) == 64


def test_keys_and_passwords_are_known_by_form():
    """What begins as a service's key, and a URL with a password."""
    assert is_key("sk-abcdef")
    assert not is_key("skills")
    assert holds_password("redis://:pw@host:6379")
    assert not holds_password("http://host:8000/v1?x=@")


def test_long_texts_take_no_time():
    """Patterns are never tried on more than a key's length; without that, this would take hours."""
    assert not holds_password("//" + ":" * 2_000_000)
    assert not looks_secret("a " * 1_000_000)
