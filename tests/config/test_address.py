"""Base addresses, strictly."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.config.address import is_loopback, is_own, masked, parse_base, parse_proxy
from proxy_cli.shapes import Backend, Proxy


@pytest.mark.parametrize(
    ("text", "backend", "path"),
    [
        ("http://localhost:20080/v1", Backend("http", "localhost", 20080), "/v1"),
        ("http://host.docker.internal:20080/v1/", Backend("http", "host.docker.internal", 20080), "/v1"),
        ("HTTPS://API.Example.com", Backend("https", "api.example.com", 443), ""),
        ("http://[::1]:8000/v1", Backend("http", "::1", 8000), "/v1"),
        ("http://[0:0::1]", Backend("http", "::1", 80), ""),
        ("http://vllm_1:8000", Backend("http", "vllm_1", 8000), ""),
        ("http://例え.jp/パス", Backend("http", "xn--r8jz45g.jp", 80), "/%E3%83%91%E3%82%B9"),
        ("https://x.openai.azure.com/", Backend("https", "x.openai.azure.com", 443), ""),
        ("http://10.0.0.1/a%20b", Backend("http", "10.0.0.1", 80), "/a%20b"),
    ],
)
def test_an_address_is_taken_apart(text, backend, path):
    """Scheme, host, port and the path below which the endpoints lie."""
    assert parse_base(text) == (backend, path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("http://", "has no host"),
        ("http:///v1", "has no host"),
        ("http:/host/v1", "two slashes belong after http: in http:/host/v1; write http://host/v1"),
        ("htp:/nowhere", "got 'htp'"),
        ("ftp://host", "got 'ftp'"),
        ("://host", "got ''"),
        ("localhost:8000", "has no scheme: localhost:8000; write http://localhost:8000"),
        ("api.example.com/v1", "has no scheme"),
        ("None", "has no scheme"),
        ("http://host:0", "1 to 65535, got 0"),
        ("http://host:99999", "1 to 65535, got 99999"),
        ("http://host:", "got nothing"),
        ("http://host:８０", "1 to 65535"),
        ("http://host:80:80", "there are two ports in http://host:80:80"),
        ("http://host:0080/v1", "the port begins with a zero"),
        ("http//host/v1", "write http://host/v1"),
        ("https;//host/v1", "write https://host/v1"),
        ("http://https://host/v1", "the scheme stands there twice"),
        ("http://host/v1,", "ends in ,"),
        ("<http://host/v1>", "ends in >"),
        ("http://{host}/v1", "holds a template or variable"),
        ("http://host/v1?api-version=2024-10-21", "write api_version: 2024-10-21 beside it"),
        ("http://::1/v1", "IPv6 address needs brackets"),
        ("http://[::g]/v1", "not an IPv6 address"),
        ("http://300.1.1.1/v1", "not an IPv4 address"),
        ("http://-host-/v1", "cannot be the name of a host"),
        ("http://a..b/v1", "cannot be the name of a host"),
        ("http://host/v1?api-version=1", "a query (?...) has no place"),
        ("http://host/v1#x", "a fragment (#...) has no place"),
        ("http://host/v1 ", "U+0020"),
        ("http://host\u00a0/v1", "U+00A0"),
        ("http://host/v1\n", "U+000A"),
        ("http:\\\\host", "backslash"),
        ("http://${HOST}/v1", "holds a template or variable"),
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(text, said):
    """It names the slip."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is looked at below
        parse_base(text)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["http://u:hunter22@h/v1", "http:/u:hunter22@h", "u:hunter22@h", "http://u:hunter22@h:99999", "ftp://u:hunter22@h",
     "http://h/v1?key=hunter22", "http://u:hunter22@h/v1#a", "http://a@u:hunter22@h"],
)  # fmt: skip
def test_a_password_in_an_address_is_never_repeated(text):
    """Nor the query, where keys stand too."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is looked at below
        parse_base(text)

    assert "hunter22" not in str(caught.value)
    assert "hunter22" not in masked(text) or "//" not in text


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True), ("127.0.0.1", True), ("::1", True), ("10.1.2.3", True), ("192.168.0.1", True),
        ("172.16.0.1", True), ("100.64.0.1", True), ("fd00::1", True), ("gpu", True), ("box.local", True),
        ("host.docker.internal", True), ("vllm.models.svc.cluster.local", True), ("api.openai.com", False),
        ("8.8.8.8", False), ("2606:4700::1", False),
    ],
)  # fmt: skip
def test_ones_own_hosts_are_told_from_public_ones(host, own):
    """By address, by ending, or because the name has no dot."""
    assert is_own(host) is own


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.2", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("example.com", False)],
)  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host, loopback):
    """The wildcard address is not."""
    assert is_loopback(host) is loopback


@given(st.one_of(st.text(), st.from_regex(r"https?://[a-z0-9.:@\[\]-]{1,20}(/[^?#]*)?", fullmatch=True)))
def test_any_text_is_an_address_or_a_sentence(text):
    """Nothing else ever happens; a backend's own spelling is read back."""
    read = parse_or_none(text)

    assert read is None or parse_base(f"{read[0]}{read[1]}") == read


def parse_or_none(text):
    """What an address says, or None where it is refused."""
    try:
        return parse_base(text)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("text", "host", "port", "authorization"),
    [
        ("http://proxy.test:3128", "proxy.test", 3128, None),
        ("http://proxy.test", "proxy.test", 80, None),
        ("HTTP://[::1]:3128/", "::1", 3128, None),
        ("http://user:password@proxy.test:3128", "proxy.test", 3128, "Basic dXNlcjpwYXNzd29yZA=="),
        ("http://user:p%40ss%3A@proxy.test:3128", "proxy.test", 3128, "Basic dXNlcjpwQHNzOg=="),
        ("http://user:@proxy.test:3128", "proxy.test", 3128, "Basic dXNlcjo="),
    ],
)
def test_proxys_address_may_hold_user_and_password(text, host, port, authorization):
    """They become the header that the proxy wants; odd letters are written as %XX."""
    proxy = parse_proxy(text)

    assert (proxy.host, proxy.port) == (host, port)
    assert (proxy.authorization and proxy.authorization.reveal()) == authorization
    assert "word" not in f"{proxy}{proxy!r}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("proxy.test:3128", "the address has no scheme: proxy.test:3128; write http://proxy.test:3128$"),
        ("u:secret@proxy.test:3128", "the address has no scheme; write http://user:password@proxy.test:3128$"),
        ("https://u:secret@proxy.test:3128", "spoken to in plain HTTP, .*; write http://proxy.test:3128"),
        ("socks5://u:secret@proxy.test:1080", "a SOCKS proxy; name an HTTP proxy"),
        ("http://proxy.test:3128/path", "the address of a proxy has no path: .*; end it after the port"),
        ("http://u:secret@proxy.test/path", "the address of a proxy has no path: "),
        ("http://u:secret@proxy.test:99999", "the port must be a number"),
        ("http://secretuser@proxy.test:3128", "before the @ belong user and password; write http://user:password@"),
        ("http://u:秘密@proxy.test:3128", "before the @ belong user and password"),
        ("http://", "has no host"),
        ("", "is empty"),
    ],
)
def test_slip_in_a_proxys_address_is_a_sentence_without_the_password(text, sentence):
    """What is wrong, and what to write."""
    with pytest.raises(ValueError, match=sentence) as failure:
        parse_proxy(text)

    assert "secret" not in str(failure.value)
    assert "秘密" not in str(failure.value)


@given(st.text(), st.from_regex(r"[a-z0-9@:/%.]{0,20}", fullmatch=True))
def test_any_text_is_a_proxy_or_a_sentence(text, rest):
    """Nothing else ever happens."""
    for each in (text, f"http://{rest}", f"http://u:p@{rest}"):
        with suppress(ValueError):
            proxy = parse_proxy(each)
            assert parse_proxy(f"{proxy}") == Proxy(proxy.host, proxy.port)
