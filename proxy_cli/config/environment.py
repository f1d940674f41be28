"""The variables that settings can come from: one table, each with its `LLMPROXY_` twin, its kind and its state.

A variable that is set and has no effect is reported, with the reason. A bad value is an error that names the variable
and where it was set, never showing a secret. Nothing is read from the process: the environment is given as a mapping.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from proxy_cli.config.dotenv import dotenv
from proxy_cli.config.privacy import shown
from proxy_cli.config.problem import Severity, did_you_mean
from proxy_cli.config.scalar import number, whole
from proxy_cli.config.variable_table import OTHER_TWINS, TABLE, Kind, Variable
from proxy_cli.secret import Secret
from proxy_cli.shapes import Json

__all__ = ["READERS", "VariableProblem", "VariableState", "Variables", "dotenv", "read_environment", "twins"]

ENVIRONMENT: Final = "the environment"
TWIN: Final = "LLMPROXY_"
# Kubernetes sets these for a service that is named llmproxy: LLMPROXY_PORT=tcp://10.0.0.1:4000, and more.
_SERVICE_LINK = re.compile(
    r"LLMPROXY_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?|PORT)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp)://")
_NO_SOURCES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class VariableProblem:
    """What is wrong with a variable, and where it was set."""

    name: str
    source: str
    message: str
    cure: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        kind = "" if self.severity is Severity.ERROR else f"{self.severity}: "
        cure = f" - {self.cure}" if self.cure else ""
        return f"{kind}{self.name} in {self.source}: {self.message}{cure}"


@dataclass(frozen=True, slots=True)
class VariableState:
    """What becomes of a variable that is set."""

    name: str
    source: str
    state: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """What the variables say; None where nothing was said."""

    master_key: Secret | None = None
    permit_weak_master_key: bool | None = None
    log_level: str | None = None
    mode: str | None = None
    host: str | None = None
    port: int | None = None
    num_workers: int | None = None
    debug: bool | None = None
    detailed_debug: bool | None = None
    drop_params: bool | None = None
    request_timeout_s: float | None = None
    keepalive_timeout_s: float | None = None
    limit_concurrency: int | None = None
    max_requests_before_restart: int | None = None
    max_requests_before_restart_jitter: int | None = None
    ssl_keyfile_path: str | None = None
    ssl_certfile_path: str | None = None
    ssl_verify: bool | str | None = None  # a text is the path of a CA bundle
    ssl_cert_file: str | None = None
    ssl_certificate: str | None = None
    server_root_path: str | None = None
    docs_url: str | None = None
    root_redirect_url: str | None = None
    no_docs: bool | None = None
    no_openapi: bool | None = None
    salt_key: Secret | None = None
    store_model_in_db: bool | None = None
    disable_schema_update: bool | None = None
    jwt_public_key_url: str | None = None
    jwt_audience: str | None = None
    jwt_issuer: str | None = None
    states: tuple[VariableState, ...] = ()


def read_environment(
    environ: Mapping[str, str], sources: Mapping[str, str] = _NO_SOURCES
) -> tuple[Variables, list[VariableProblem]]:
    """The values of all variables, and what is wrong; `sources` says which file a variable came from."""
    reading = _Reading(environ, sources)
    for variable in TABLE:
        reading.read(variable)
    reading.look_for_slips()
    return Variables(**reading.values, states=tuple(reading.states)), reading.problems


def twins(name: str) -> tuple[str, ...]:
    """The names of a variable, ours first: `LLMPROXY_MASTER_KEY`, `LITELLM_MASTER_KEY`."""
    ours = name if name.startswith(TWIN) else TWIN + name.removeprefix("LITELLM_")
    return tuple(dict.fromkeys((ours, *OTHER_TWINS.get(name, ()), name)))


class _Reading:
    def __init__(self, environ: Mapping[str, str], sources: Mapping[str, str]) -> None:
        self._environ = environ
        self._sources = sources
        # Filled while the table is gone through.
        self.values: dict[str, Json] = {}
        self.states: list[VariableState] = []
        self.problems: list[VariableProblem] = []

    def read(self, variable: Variable) -> None:
        given = [name for name in twins(variable.name) if self._is_given(name)]
        if not given:
            return
        name, *others = given
        if any(self._environ[other] != self._environ[name] for other in others):
            self._say(name, f"is used; {', '.join(others)} is set too, to something else", severity=Severity.NOTE)
        self.states.append(VariableState(name, self._source(name), variable.state, variable.why))
        try:
            value = READERS[variable.kind](self._environ[name].strip())
        except ValueError as problem:
            self._say(name, str(problem), f"correct it, or unset {name}")
            return
        if variable.field:
            self.values[variable.field] = value
        elif value is not False:
            self._report_unused(name, variable)

    def _is_given(self, name: str) -> bool:
        text = self._environ.get(name, "")
        return bool(text.strip()) and not (_SERVICE_LINK.fullmatch(name) and _SERVICE_ADDRESS.match(text))

    def _report_unused(self, name: str, variable: Variable) -> None:
        if variable.state == "ignored":
            self._say(name, f"does nothing here: {variable.why}", severity=Severity.NOTE)
        elif variable.state == "not yet supported":
            self._say(name, "known, not yet supported", variable.why, Severity.WARNING)

    def look_for_slips(self) -> None:
        """A name that begins with ours and is none of ours is a slip of the pen."""
        known = {name for variable in TABLE for name in twins(variable.name)}
        ours = {name for name in known if name.startswith(TWIN)}
        for name in sorted(self._environ):
            if not name.startswith(TWIN) or name in known or _SERVICE_LINK.fullmatch(name):
                continue
            near = did_you_mean(name.removeprefix(TWIN), (each.removeprefix(TWIN) for each in ours))
            if near:
                self._say(name, "no such variable", f"did you mean {TWIN}{near}?")
            else:
                self._say(name, "no such variable; it does nothing", f"unset {name}", Severity.WARNING)

    def _source(self, name: str) -> str:
        return self._sources.get(name, ENVIRONMENT)

    def _say(self, name: str, message: str, cure: str = "", severity: Severity = Severity.ERROR) -> None:
        self.problems.append(VariableProblem(name, self._source(name), message, cure, severity))


_YES: Final = frozenset({"true", "1", "yes", "on"})
_NO: Final = frozenset({"false", "0", "no", "off"})
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _flag(text: str) -> bool:
    word = text.lower()
    if word not in _YES | _NO:
        raise ValueError(f"expected true or false, got '{shown(text)}'")
    return word in _YES


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    wanted = f"a whole number from {least} to {most}" if most else f"a whole number of at least {least}"

    def read(text: str) -> int:
        try:
            value = whole(text)
        except ValueError:
            raise ValueError(f"expected {wanted}, got '{shown(text)}'") from None
        if value < least or (most is not None and value > most):
            raise ValueError(f"expected {wanted}, got {value}")
        return value

    return read


def _seconds(text: str) -> float:
    wanted = "a number of seconds above 0"
    try:
        value = number(text)
    except ValueError:
        raise ValueError(f"expected {wanted}, got '{shown(text)}'") from None
    if value <= 0:
        raise ValueError(f"expected {wanted}, got {text}")
    return value


def _level(text: str) -> str:
    if text.upper() not in _LEVELS:
        raise ValueError(f"expected one of {', '.join(_LEVELS)}, got '{shown(text)}'")
    return text.upper()


def _verify(text: str) -> bool | str:
    return text.lower() in _YES if text.lower() in _YES | _NO else text


def _url_path(text: str) -> str:
    if not text.startswith("/") or any(letter.isspace() for letter in text) or "?" in text or "#" in text:
        raise ValueError(f"expected a path such as /llm, got '{shown(text)}'")
    return text.rstrip("/")


def _secret(text: str) -> Secret:
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text):
        raise ValueError("the key holds a line break or another control character")
    return Secret(text.strip("\"'"))


READERS: Final[Mapping[Kind, Callable[[str], Json]]] = MappingProxyType(
    {
        Kind.TEXT: str,
        Kind.SECRET: _secret,
        Kind.FLAG: _flag,
        Kind.PORT: _whole(1, 65535),
        Kind.COUNT: _whole(1),
        Kind.TALLY: _whole(0),
        Kind.SECONDS: _seconds,
        Kind.LEVEL: _level,
        Kind.VERIFY: _verify,
        Kind.URL_PATH: _url_path,
    }
)
