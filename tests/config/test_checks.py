"""What only shows when settings are looked at together."""

import pytest

from proxy_cli.config.checks import cross_checks, entries, text_of
from proxy_cli.config.problem import Severity
from proxy_cli.config.scalar import Scalar, kind_of


def tree(value):
    """Plain values as a file's tree."""
    if isinstance(value, dict):
        return {key: tree(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [tree(inner) for inner in value]
    return Scalar(value, False, kind_of(value))


def found(**params):
    """What is said of one entry with these parameters."""
    return cross_checks(
        tree({"model_list": [{"model_name": "a", "litellm_params": {"model": "openai/a", **params}}]}), ()
    )


@pytest.mark.parametrize(
    "key",
    ["your-api-key", "YOUR_API_KEY", "sk-...", "sk-…", "<api key>", "${KEY}", "$KEY", "sk-xxxxxxxx", "changeme",
     "replace-me", "sk-your-key", "{{ key }}", "my-api-key", "insert key here", "***", "todo"],
)  # fmt: skip
def test_a_placeholder_is_refused(key):
    """It was never replaced."""
    assert [(each.severity, each.path[-1]) for each in found(api_key=key)] == [(Severity.ERROR, "api_key")]


@pytest.mark.parametrize(
    "key", ["None", "EMPTY", "fake-key", "sk-1234", "anything", "lm-studio", "ollama", "token-abc123"]
)
def test_keys_that_ones_own_servers_take_are_taken(key):
    """Nobody checks them there."""
    assert found(api_key=key, api_base="http://localhost:8000/v1") == []
    assert found(api_key=key, api_base="http://gpu:8000/v1") == []
    assert found(api_key=key, api_base="http://10.0.0.5:8000/v1") == []


def test_a_key_that_is_none_on_a_public_host_is_warned_of():
    """Also where the host is the provider's own; not where the provider runs on one's own machine."""
    assert [each.severity for each in found(api_key="EMPTY", api_base="https://api.example.com/v1")] == [
        Severity.WARNING
    ]
    assert [each.severity for each in found(api_key="None")] == [Severity.WARNING]
    assert found(api_key="None", model="ollama/llama3") == []


def test_two_different_bases_are_warned_of():
    """One of them is not used."""
    (said,) = found(api_base="http://a/v1", base_url="http://b/v1")

    assert said.path[-1] == "base_url"
    assert found(api_base="http://a/v1", base_url="http://a/v1") == []


def test_a_wildcard_that_stands_for_nothing_is_warned_of():
    """The backend would be asked for a model named `*`."""
    assert [each.path[-1] for each in found(model="openai/*")] == ["model"]


def test_placeholders_in_other_places_are_refused():
    """The master key and shared credentials are keys too."""
    values = tree(
        {
            "model_list": [{"model_name": "a", "litellm_params": {"model": "openai/a"}}],
            "general_settings": {"master_key": "your-master-key"},
            "credential_list": [{"credential_name": "c", "credential_values": {"api_key": "<key>"}}],
        }
    )

    assert [each.path[0] for each in cross_checks(values, ())] == ["general_settings", "credential_list"]


def test_broken_trees_are_left_to_their_readers():
    """The checks never fail, whatever stands there."""
    broken = tree({"model_list": ["x", {"litellm_params": ["y"]}, {"model_info": "z"}], "general_settings": ["a"]})

    assert cross_checks(broken, ()) == []
    assert [path for path, _ in entries(broken)] == [("model_list", 1), ("model_list", 2)]
    assert text_of(broken, "general_settings", "x") is None


def test_a_header_has_a_name_that_can_be_sent():
    """A blank or colon in it would make another header of it."""
    (one,) = found(extra_headers={"x-team": "a", "bad name": "b"})

    assert one.path[-2:] == ("extra_headers", "bad name")
    assert one.message == "'bad name' cannot be the name of a header"


@pytest.mark.parametrize(
    ("base", "severities"),
    [
        ("http://localhost:8000", [Severity.NOTE]),
        ("https://api.openai.com/", [Severity.WARNING]),
        ("http://localhost:8000/v1", []),
        ("https://api.deepseek.com", []),
    ],
)
def test_an_address_without_a_path_is_worth_a_word(base, severities):
    """OpenAI's own has none without `/v1`; others may."""
    assert [each.severity for each in found(api_base=base)] == severities


@pytest.mark.parametrize(
    "path",
    [
        ("litellm_settings", "ssl_verify"),
        ("router_settings", "default_litellm_params", "ssl_verify"),
        ("model_list", 0, "litellm_params", "ssl_verify"),
    ],
)
@pytest.mark.row("U-04")
def test_certificates_that_are_not_checked_are_warned_of(path):
    """Wherever it is said; a file of CAs, or `true`, is nothing to speak of."""

    def said(value):
        value = {path[-1]: value}
        for step in reversed(path[:-1]):
            value = [value] if step == 0 else {step: value}
        return [each for each in cross_checks(tree(value), ["x"]) if "ssl_verify" in each.path]

    (warning,) = said("false")

    assert (warning.path, warning.severity) == (path, Severity.WARNING)
    assert said("true") == said("/etc/ca.pem") == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("ssl_verify", "/ca.pem"), ("ssl_verify", "false"), ("ssl_certificate", "/a.pem"), ("ssl_keyfile", "/a.key")],
)
@pytest.mark.parametrize("base", ["api_base", "base_url"])
def test_tls_settings_of_a_plain_backend_are_warned_of(key, value, base):
    """They do nothing there, and who wrote them believes otherwise."""
    plain = found(**{base: "HTTP://host.test/v1", key: value})
    secure = found(**{base: "https://host.test/v1", key: "/etc/ca.pem"})

    assert [(each.severity, each.path[-1], each.message) for each in plain] == [
        (Severity.WARNING, key, "does nothing: the backend is spoken to in plain HTTP")
    ]
    assert secure == []
