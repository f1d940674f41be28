"""The backends' TLS settings at the start: what is told, where, and what each deployment gets."""

import pytest

from proxy_cli.config.flags import Flags
from proxy_cli.server.setup import prepare
from proxy_cli.shapes import Proxy, Tls

ENTRY = (
    "model_list:\n  - model_name: a\n    litellm_params:\n      model: openai/a\n      api_base: https://llm.test/v1\n"
)


def told(tmp_path, text, environ=None):
    """What comes of a file."""
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return prepare(Flags(config=file, host="127.0.0.1"), environ or {})


def backend(tmp_path, text, environ=None):
    """The backend of the file's only entry."""
    result = told(tmp_path, text, environ)
    assert result.setup is not None, [*map(str, result.problems), *result.sentences]
    (deployment,) = result.setup.table.deployments
    return deployment.backend


@pytest.mark.row("U-04")
@pytest.mark.parametrize(
    ("line", "place"),
    [
        (
            "      ssl_verify: /no/ca.pem\n",
            "6:19: model_list[0].litellm_params.ssl_verify: cannot read CA certificates",
        ),
        ("litellm_settings:\n  ssl_verify: /no/ca.pem\n", "7:15: litellm_settings.ssl_verify: cannot read CA"),
        ("litellm_settings:\n  ssl_certificate: /no/cert.pem\n", "7:20: litellm_settings.ssl_certificate: cannot read"),
        (
            "router_settings:\n  default_litellm_params:\n    ssl_certificate: /no/cert.pem\n",
            "8:22: router_settings.default_litellm_params.ssl_certificate: cannot read '/no/cert.pem'",
        ),
        ("      ssl_keyfile: /no/key.pem\n", "6:20: model_list[0].litellm_params.ssl_keyfile: stands alone - name the"),
    ],
)
def test_file_that_is_no_use_is_an_error_with_its_place_and_a_cure(tmp_path, line, place):
    """Before the first request."""
    result = told(tmp_path, ENTRY + line)

    assert result.setup is None
    (problem,) = [str(each) for each in result.problems if "ssl_" in each.path]
    assert place in problem
    assert " - name " in problem


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_VERIFY", "SSL_CERTIFICATE"])
def test_file_that_a_variable_names_is_told_with_the_variable(tmp_path, variable):
    """It has no place in the file."""
    result = told(tmp_path, ENTRY, {variable: "/no/such.pem"})

    assert result.setup is None
    (sentence,) = result.sentences
    assert variable in sentence
    assert "/no/such.pem" in sentence


def test_verification_turned_off_by_a_variable_is_said_at_the_start(tmp_path):
    """In the file a warning says so; there it has a place."""
    result = told(tmp_path, ENTRY, {"SSL_VERIFY": "false"})

    assert result.setup is not None
    assert [note for note in result.setup.notes if "SSL_VERIFY is false" in note]
    assert backend(tmp_path, ENTRY, {"SSL_VERIFY": "false"}).tls == Tls(False)


def test_entrys_own_settings_win_over_those_for_all(tmp_path):
    """Each by itself; the certificate and its key go together."""
    general = "litellm_settings:\n  ssl_verify: false\n  http_proxy: http://u:p@proxy.test:3128\n"

    assert backend(tmp_path, ENTRY).tls == Tls()
    assert backend(tmp_path, ENTRY + general).tls == Tls(False)
    assert backend(tmp_path, ENTRY + "      ssl_verify: true\n" + general).tls == Tls(True)
    proxy = backend(tmp_path, ENTRY + general).proxy
    assert isinstance(proxy, Proxy)
    assert (proxy.host, proxy.port) == ("proxy.test", 3128)
    assert backend(tmp_path, ENTRY + "      http_proxy: none\n" + general).proxy is None
    assert (
        str(backend(tmp_path, ENTRY + "      http_proxy: http://other:8080\n" + general).proxy) == "http://other:8080"
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_backend_on_this_machine_is_not_asked_for_at_the_proxy_for_all(tmp_path, host):
    """The proxy would ask its own machine; an entry that names a proxy means it."""
    local = ENTRY.replace("llm.test", host)
    general = "litellm_settings:\n  http_proxy: http://proxy.test:3128\n"

    assert backend(tmp_path, local + general).proxy is None
    assert backend(tmp_path, local + "      http_proxy: http://proxy.test:3128\n").proxy is not None


def test_plain_backends_share_their_connections_whatever_is_said_of_tls(tmp_path):
    """It says nothing about them."""
    text = ENTRY.replace("https:", "http:") + "      ssl_verify: false\n"

    assert backend(tmp_path, text).tls == Tls()


def test_proxys_password_is_a_secret_of_the_setup(tmp_path):
    """Neither the file's problems nor the model's public parameters show it."""
    result = told(tmp_path, ENTRY + "      http_proxy: http://user:hunter2hunter2@proxy.test:3128\n")

    assert result.setup is not None
    (deployment,) = result.setup.table.deployments
    assert deployment.params["http_proxy"] == "http://proxy.test:3128"
    assert deployment.backend.proxy is not None
    assert result.setup.scrubber.scrub(deployment.backend.proxy.authorization.reveal()) == "***"
    assert "hunter2" not in f"{deployment!r}{[str(each) for each in result.problems]}"


def test_one_slip_is_told_once(tmp_path):
    """However many kinds of settings it is part of."""
    text = ENTRY + "      ssl_certificate: /no/cert.pem\nlitellm_settings:\n  ssl_verify: /no/ca.pem\n"

    result = told(tmp_path, text)

    assert [each.path for each in result.problems if "ssl_" in each.path] == ["litellm_settings.ssl_verify"]
