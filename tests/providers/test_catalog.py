"""The providers that are known."""

from urllib.parse import urlsplit

import pytest

from proxy_cli.providers.catalog import NOT_BUILT, ROWS, find, is_known


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_row_says_where_its_service_is_and_what_opens_it(row):
    """A row has an absolute address without a slash at its end, or says that it needs one."""
    if row.base_url:
        url = urlsplit(row.base_url)
        assert url.scheme in ("http", "https")
        assert url.hostname
        assert not row.base_url.endswith("/")
    assert row.needs_base is (row.base_url == "")
    assert row.key_env or row.key_optional


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_row_of_a_hosted_service_is_reached_over_tls(row):
    """A key goes out unencrypted only to the machine itself."""
    url = urlsplit(row.base_url)

    assert url.scheme != "http" or url.hostname in ("localhost", "127.0.0.1")


def test_no_provider_is_both_built_and_not():
    """A name is in one of the two lists."""
    assert not ROWS.keys() & NOT_BUILT.keys()


def test_find_knows_rows_and_nothing_else():
    """A row is found by its prefix; what is not built has none."""
    groq = find("groq")

    assert groq is not None
    assert groq.base_url == "https://api.groq.com/openai/v1"
    assert groq.key_env == ("GROQ_API_KEY",)
    assert find("anthropic") is None
    assert is_known("anthropic")
    assert not is_known("meta-llama")


def test_row_of_any_server_takes_no_key_from_a_variable():
    """A key that was set for one service does not go to an address of somebody else."""
    row = find("custom_openai")

    assert row is not None
    assert row.key_env == ()
