"""An address of PostgreSQL as what its driver takes: host, login, TLS, parameters of the session."""

import ssl
from typing import Final

from proxy_cli.shapes import Json
from proxy_cli.store.address import PostgresAddress
from proxy_cli.store.failures import StoreProblem

_PROGRAM: Final = "llmproxy"


def driver_options(address: PostgresAddress, *, timeout_s: float, statement_s: float) -> dict[str, Json]:
    """The named arguments that asyncpg's `connect` gets by way of SQLAlchemy. Raises StoreProblem."""
    options: dict[str, Json] = {
        "host": address.host,
        "port": address.port,
        "database": address.database,
        "user": address.user,
        "password": address.password.reveal() if address.password else None,
        "timeout": address.connect_timeout_s or timeout_s,
        "ssl": tls_of(address),
        "server_settings": _session(address, statement_s),
    }
    if address.is_pooled:
        # The next statement may go to another connection of the server, which knows nothing of what was prepared.
        options |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        options["prepared_statement_name_func"] = _no_name
    return options


def _no_name() -> str:
    return ""


def _session(address: PostgresAddress, statement_s: float) -> dict[str, str]:
    """What each session begins with; a pooler refuses what it does not know, and gets what was asked for alone."""
    session = dict(address.server)
    if address.is_pooled:
        return session
    session.setdefault("application_name", _PROGRAM)
    limit_ms = int((address.statement_timeout_s or statement_s) * 1000)
    session |= {"statement_timeout": str(limit_ms), "timezone": "UTC"}
    if address.schema:
        session["search_path"] = f'"{address.schema}"'
    return session


def tls_of(address: PostgresAddress) -> ssl.SSLContext | str | bool | None:
    """Whether and how the connection is encrypted, by PostgreSQL's own words."""
    mode = address.ssl_mode
    if mode is None and address.ssl_root:
        mode = "verify-full"
    if mode is None or mode in {"allow", "prefer"}:
        return None if mode is None and address.host.startswith("/") else "prefer"
    if mode == "disable":
        return False
    try:
        return _context(address, mode)
    except (OSError, ssl.SSLError) as error:
        raise StoreProblem(
            f"the certificates for the database {address} cannot be read: {error.strerror or type(error).__name__}; "
            "look at sslrootcert, sslcert and sslkey of its address"
        ) from error


def _context(address: PostgresAddress, mode: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=address.ssl_root)
    if mode != "verify-full":
        context.check_hostname = False
    # As libpq has it: `require` alone trusts any server, and checks it where an authority is named.
    if mode == "require" and not address.ssl_root:
        context.verify_mode = ssl.CERT_NONE
    if address.ssl_certificate:
        context.load_cert_chain(address.ssl_certificate, address.ssl_key)
    return context
