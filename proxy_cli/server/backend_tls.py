"""The backends' TLS settings, tried before the first socket: a file that is no use is told with place and cure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from proxy_cli.config.environment import Variables
from proxy_cli.config.load import Loaded
from proxy_cli.config.problem import Path, Problem
from proxy_cli.config.schema import Config
from proxy_cli.config.settings_litellm import LiteLLMSettings
from proxy_cli.config.state import Section
from proxy_cli.shapes import USUAL_TLS, Deployment, Tls
from proxy_cli.upstream.tls import UnusableTls, tls_context

_VARIABLES = {"ssl_verify": "SSL_VERIFY or SSL_CERT_FILE", "ssl_certificate": "SSL_CERTIFICATE"}


class Unusable(NamedTuple):
    """What is wrong: with a place in the file, and by a sentence where a variable has set it."""

    problems: tuple[Problem, ...]
    sentences: tuple[str, ...]


def settings(litellm: LiteLLMSettings, variables: Variables) -> Tls:
    """What holds for every backend whose entry does not say otherwise."""
    verify = litellm.ssl_verify if litellm.ssl_verify is not None else variables.ssl_verify
    if verify is None or verify is True:
        verify = variables.ssl_cert_file or True
    if litellm.ssl_certificate is not None:
        return Tls(verify, litellm.ssl_certificate, litellm.ssl_keyfile)
    return Tls(verify, variables.ssl_certificate)


def notes(config: Config, variables: Variables) -> tuple[str, ...]:
    """What is to be said at the start of what variables have set; the file's own settings are checked with it."""
    if variables.ssl_verify is not False or config.litellm_settings.ssl_verify is not None:
        return ()
    return ("SSL_VERIFY is false: no backend's certificate is checked; name the file of your CA there instead",)


def check(config: Config, variables: Variables, deployments: Sequence[Deployment], loaded: Loaded | None) -> Unusable:
    """Try each kind of TLS settings once: those of the deployments, and those for all."""
    problems: list[Problem] = []
    sentences: list[str] = []
    for tls in dict.fromkeys(
        [settings(config.litellm_settings, variables), *(each.backend.tls for each in deployments)]
    ):
        error = _error(tls)
        if error is None:
            continue
        message, _, cure = str(error).partition("; ")
        path = _path(config, error.setting, _value(tls, error.setting))
        if path is not None and loaded is not None:
            problems.append(loaded.problem(path, message, cure))
        else:
            sentences.append(f"{_VARIABLES.get(error.setting, error.setting)}: {error}")
    return Unusable(tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(sentences)))


def _error(tls: Tls) -> UnusableTls | None:
    if tls == USUAL_TLS:
        return None  # the system's certificates take their time, and are read when a backend needs them
    try:
        tls_context(tls)
    except UnusableTls as error:
        return error
    return None


def _value(tls: Tls, setting: str) -> bool | str | None:
    values = {"ssl_verify": tls.verify, "ssl_certificate": tls.certificate, "ssl_keyfile": tls.keyfile}
    return values[setting]


def _path(config: Config, setting: str, value: bool | str | None) -> Path | None:
    """Where the file says so, if it does."""
    for path, section in _sections(config):
        if getattr(section, setting) == value:
            return (*path, setting)
    return None


def _sections(config: Config) -> Iterator[tuple[Path, Section]]:
    for index, entry in enumerate(config.model_list):
        yield ("model_list", index, "litellm_params"), entry.litellm_params
    yield ("router_settings", "default_litellm_params"), config.router_settings.default_litellm_params
    yield ("litellm_settings",), config.litellm_settings
