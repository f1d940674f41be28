"""Where the database is, and how it is used; decided once, before anything is opened.

Without an address it is a SQLite file in the folder for data. An address is `postgresql://...`, `sqlite:///path`, or
a path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from platformdirs import user_data_path

from proxy_cli.secret import Secret
from proxy_cli.store.address import PostgresAddress, read_address
from proxy_cli.store.failures import StoreProblem

FILE_NAME: Final = "llmproxy.db"
POOL: Final = 10
TIMEOUT_S: Final = 2.0
SHAPES: Final = "postgresql://user:password@host:5432/name, sqlite:///path/to/file.db or a path"
_POSTGRES: Final = ("postgresql", "postgres")
_DRIVERS: Final = ("asyncpg", "greenlet")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The database: a file of SQLite, or an address of PostgreSQL; exactly one of the two is set."""

    path: Path | None = None
    postgres: PostgresAddress | None = None
    pool: int = POOL  # connections of one process; SQLite needs no more than its own few
    timeout_s: float = TIMEOUT_S  # how long a connection, or SQLite's lock, is waited for
    power_safe: bool = False  # SQLite: a change has reached the disk before it counts as made
    is_explicit: bool = True  # somebody has named this database, so a failure is told and not passed over

    @property
    def dialect(self) -> str:
        """The kind of database."""
        return "sqlite" if self.path else "postgresql"

    @property
    def shown(self) -> str:
        """Where it is, for people; without a password."""
        return str(self.path or self.postgres)


def data_dir(environ: Mapping[str, str]) -> Path:
    """The folder for what is kept: LLMPROXY_DATA_DIR, or the user's own for this program."""
    named = environ.get("LLMPROXY_DATA_DIR", "").strip()
    return _at_home(Path(named)) if named else user_data_path("llmproxy")


def settings_of(
    database_url: Secret | str | None,
    environ: Mapping[str, str],
    folder: Path,
    *,
    pool: int | None = None,
    timeout_s: float | None = None,
    power_safe: bool = False,
) -> StoreSettings:
    """The database that the file names, or a variable, or the usual one in a folder. Raises StoreProblem."""
    given = database_url.reveal() if isinstance(database_url, Secret) else database_url
    url = (given or _variable(environ, "DATABASE_URL") or _of_parts(environ)).strip().strip("\"'")
    wait_s = timeout_s or TIMEOUT_S
    if not url:
        return StoreSettings(path=folder / FILE_NAME, timeout_s=wait_s, power_safe=power_safe, is_explicit=False)
    scheme, separator, rest = url.partition("://")
    if not separator:
        return StoreSettings(path=_path(url), timeout_s=wait_s, power_safe=power_safe)
    if scheme == "sqlite":
        return StoreSettings(path=_path(unquote(rest.removeprefix("/"))), timeout_s=wait_s, power_safe=power_safe)
    if scheme not in _POSTGRES:
        raise StoreProblem(f"no database is spoken to by {scheme}://; write {SHAPES}")
    if not all(map(find_spec, _DRIVERS)):
        raise StoreProblem("PostgreSQL needs its driver, which is not installed; pip install 'llmproxy[postgres]'")
    address = read_address(url)
    return StoreSettings(
        postgres=address,
        pool=pool or address.pool or POOL,
        timeout_s=timeout_s or address.pool_timeout_s or TIMEOUT_S,
    )


def _path(text: str) -> Path:
    if not text.strip() or text.startswith(":memory:"):
        raise StoreProblem(f"the database needs a file: a database in memory forgets all at the end; write {SHAPES}")
    return _at_home(Path(text))


def _at_home(path: Path) -> Path:
    """The path with its ~ filled in; where that means nothing it stays, and is told when the file is to be made."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _variable(environ: Mapping[str, str], name: str) -> str:
    """The value of a variable or, before it, of its twin of ours; empty where neither is set."""
    return environ.get(f"LLMPROXY_{name}", "").strip() or environ.get(name, "").strip()


def _of_parts(environ: Mapping[str, str]) -> str:
    """The address that LiteLLM's single variables make up; empty where they do not."""
    host, port, name, schema = (_variable(environ, f"DATABASE_{part}") for part in ("HOST", "PORT", "NAME", "SCHEMA"))
    if not host or not name:
        return ""
    user = _variable(environ, "DATABASE_USERNAME") or _variable(environ, "DATABASE_USER")
    password = _variable(environ, "DATABASE_PASSWORD")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    query = f"?schema={quote(schema)}" if schema else ""
    return f"postgresql://{login}{host}{f':{port}' if port else ''}/{name}{query}"
