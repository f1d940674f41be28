"""Addresses to listen on, as a setting writes them."""

import pytest

from proxy_cli.config.bind import parse_bind


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:4001", "127.0.0.1", 4001),
        ("4001", "127.0.0.1", 4001),
        ("[::1]:4001", "[::1]", 4001),
        ("admin.internal:65535", "admin.internal", 65535),
        ("unix:/run/a.sock", "unix:/run/a.sock", 0),
    ],
)
def test_an_address_is_a_host_and_a_port(text, host, port):
    """A port alone is one that no other machine reaches."""
    assert parse_bind(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", "unix:", "127.0.0.1", "127.0.0.1:", "a:0", "a:65536", "::1:4001", "http://a:1", "a b:1", "a@b:1", "a:1/x"],
)
def test_what_is_no_address_is_refused_with_an_example(text):
    """A URL, a host alone, an address of IPv6 without its brackets."""
    with pytest.raises(ValueError, match=r"is no address to listen on; write it as 127\.0\.0\.1:4001"):
        parse_bind(text)
