"""PostgreSQL's address, with the parameters that Prisma and libpq know: each is put to use, or named in a refusal."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from proxy_cli.secret import Secret
from proxy_cli.store.failures import StoreProblem

_PORT: Final = 5432
_SHAPE: Final = "postgresql://user:password@host:5432/name"
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")
_NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A database of PostgreSQL, and how it is to be spoken to."""

    host: str  # a name or an address, or the folder of a Unix socket
    port: int
    database: str
    user: str | None = None
    password: Secret | None = None
    schema: str | None = None  # the tables are in this one
    ssl_mode: str | None = None
    ssl_root: str | None = None  # a file of certificates
    ssl_certificate: str | None = None
    ssl_key: str | None = None
    is_pooled: bool = False  # by pgbouncer or its like: statements are prepared anew each time
    pool: int | None = None
    pool_timeout_s: float | None = None
    connect_timeout_s: float | None = None
    statement_timeout_s: float | None = None
    unused: tuple[str, ...] = ()  # parameters that do nothing here
    server: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMETERS)  # parameters of the session

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = f"{self.user}:***@" if self.user and self.password else f"{self.user}@" if self.user else ""
        return f"postgresql://{login}{host}:{self.port}/{self.database}"


class _Parameter(NamedTuple):
    """What a parameter of the address sets, and how its text is read."""

    sets: str
    read: Callable[[str], object]


def read_address(url: str) -> PostgresAddress:
    """An address as PostgreSQL, Prisma and LiteLLM write it. Raises StoreProblem, without the password."""
    if url.partition("://")[2].partition("/")[0].count("@") > 1:
        raise StoreProblem("the database's address has an @ in its password; write it as %40 there")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise StoreProblem(
            "the database's address cannot be read: a password with / ? # : or [ must have them percent-encoded "
            f"(%2F %3F %23 %3A %5B); write it as {_SHAPE}"
        ) from None
    settings = _parameters(parts.query)
    host = str(settings.pop("host", None) or parts.hostname or "")
    database = unquote(parts.path.lstrip("/"))
    if not host:
        raise StoreProblem(f"the database's address has no host; write it as {_SHAPE}")
    if not database:
        raise StoreProblem(f"the database's address has no name of a database; write it as {_SHAPE}")
    return PostgresAddress(
        host=unquote(host),
        port=port or _PORT,
        database=database,
        user=unquote(parts.username) if parts.username else None,
        password=Secret(unquote(parts.password)) if parts.password else None,
        **settings,  # type: ignore[arg-type] # each is read by the table below
    )


def _parameters(query: str) -> dict[str, object]:
    settings: dict[str, object] = {}
    server: dict[str, str] = {}
    unused = []
    for name, text in parse_qsl(query, keep_blank_values=True):
        known = _PARAMETERS.get(name)
        if known is None:
            raise StoreProblem(
                f"the database's address has the parameter {name!r}, which is not known here; "
                f"take it out; known: {', '.join(sorted(_PARAMETERS))}"
            )
        if not known.sets:
            unused.append(name)
            continue
        try:
            value = known.read(text)
        except ValueError as problem:
            raise StoreProblem(f"the parameter {name!r} of the database's address {problem}") from None
        if known.sets.startswith("server."):
            server[known.sets.removeprefix("server.")] = str(value)
        elif known.sets == "ssl_mode":
            settings["ssl_mode"] = max(str(value), str(settings.get("ssl_mode", "disable")), key=_SSL_MODES.index)
        else:
            settings[known.sets] = value
    return {**_with_client_certificate(settings), "unused": tuple(unused), "server": MappingProxyType(server)}


def _with_client_certificate(settings: dict[str, object]) -> dict[str, object]:
    """`sslcert` is the authority's certificate to Prisma, and the client's own to libpq, where a key goes with it."""
    certificate = settings.pop("certificate", None)
    if certificate is None:
        return settings
    place = "ssl_certificate" if "ssl_key" in settings else "ssl_root"
    return {place: certificate, **settings}


def _text(text: str) -> str:
    if not text:
        raise ValueError("is empty; write a value, or take it out")
    return text


def _schema(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("is no name of a schema: letters, digits and _ make one up, and a letter comes first")
    return text


def _seconds(text: str) -> float | None:
    """Seconds; Prisma's 0 means no limit, which here is ours."""
    if not text.isdecimal() or len(text) > 6:
        raise ValueError(f"is no number of seconds: {text[:20]}; write plain digits")
    return float(text) or None


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 10_000:
        raise ValueError(f"is no number of connections: {text[:20]}; write one above 0")
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(f"is neither true nor false: {text[:20]}")
    return text.lower() in {"true", "1"}


def _is_zero(text: str) -> bool:
    """Prisma's size of the cache of prepared statements: 0 is said where a pooler cannot keep them."""
    return text == "0"


def _ssl_mode(text: str) -> str:
    if text not in _SSL_MODES:
        raise ValueError(f"is none of {', '.join(_SSL_MODES)}: {text[:20]}")
    return text


def _strictness(text: str) -> str:
    """Prisma's sslaccept: whether the server's certificate is checked."""
    modes = {"strict": "verify-full", "accept_invalid_certs": "require"}
    if text not in modes:
        raise ValueError(f"is none of {', '.join(modes)}: {text[:20]}")
    return modes[text]


_PARAMETERS: Final[Mapping[str, _Parameter]] = {
    # Prisma's
    "schema": _Parameter("schema", _schema),
    "connection_limit": _Parameter("pool", _count),
    "pool_timeout": _Parameter("pool_timeout_s", _seconds),
    "connect_timeout": _Parameter("connect_timeout_s", _seconds),
    "socket_timeout": _Parameter("statement_timeout_s", _seconds),
    "pgbouncer": _Parameter("is_pooled", _flag),
    "statement_cache_size": _Parameter("is_pooled", _is_zero),
    "sslmode": _Parameter("ssl_mode", _ssl_mode),
    "sslaccept": _Parameter("ssl_mode", _strictness),
    "sslcert": _Parameter("certificate", _text),
    "sslrootcert": _Parameter("ssl_root", _text),
    "sslclientcert": _Parameter("ssl_certificate", _text),
    "sslkey": _Parameter("ssl_key", _text),
    "host": _Parameter("host", _text),
    # libpq's
    "application_name": _Parameter("server.application_name", _text),
    "options": _Parameter("server.options", _text),
    "target_session_attrs": _Parameter("", _text),  # one host is named, and a server that only reads is told of
    "channel_binding": _Parameter("", _text),  # managed services write it; the driver has none
}
