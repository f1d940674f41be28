from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.shapes import Backend, Deployment, Usage, first_header, header_text


@pytest.mark.parametrize(
    ("backend", "shown"),
    [
        (Backend("http", "localhost", 20080), "http://localhost:20080"),
        (Backend("http", "localhost", 80), "http://localhost"),
        (Backend("https", "api.example", 443), "https://api.example"),
        (Backend("https", "::1", 8443), "https://[::1]:8443"),
    ],
)
def test_a_backend_reads_as_its_origin(backend, shown):
    """The port shows only where it is not the scheme's own; IPv6 gets its brackets."""
    assert str(backend) == shown


@given(st.text())
def test_header_text_is_printable_ascii(text):
    """Whatever comes in, no line break and nothing but ASCII goes out."""
    assert all(32 <= ord(character) < 127 for character in header_text(text))


def test_header_text_keeps_what_is_fine():
    """Ordinary values are not touched; what could be taken for an escape, and Japanese, is percent-encoded."""
    assert header_text("openai/gpt-4o [a]; q=1") == "openai/gpt-4o [a]; q=1"
    assert header_text("日") == "%E6%97%A5"
    assert header_text("100%\\") == "100%25%5C"


def test_total_tokens_are_both_sides():
    """Prompt and completion, each counted once."""
    assert Usage(prompt_tokens=3, completion_tokens=4, cached_tokens=2).total_tokens == 7


def test_the_first_of_several_headers_is_found():
    """By its lower-case name; None when absent."""
    headers = (("a", "1"), ("b", "2"), ("a", "3"))

    assert first_header(headers, "a") == "1"
    assert first_header(headers, "c") is None


def test_an_address_is_shown_where_a_backend_is_asked():
    """One that answers by itself, be it with nothing, has none."""
    asked = Deployment(
        id="1", group="g", model="m", provider="openai", backend=Backend("http", "gpu", 8000), base_path="/v1"
    )

    assert asked.api_base == "http://gpu:8000/v1"
    assert replace(asked, mock_response="").api_base == ""
