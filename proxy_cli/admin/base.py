"""What every endpoint for operators is made of: the question, the office that answers, and the row of the table.

Owns: how a body and a query become values, and the refusal of those that do not. Refuses: HTTP; whoever asks has been
admitted already, and what comes back is plain data. Rule: a body is decoded by the type that its endpoint declares, so
that a field of another kind is refused with its name before anything is looked up; `None` means "take this away",
`UNSET` means "not said".
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, Select

from proxy_cli.admin.refusals import bad_field, refuse_misspelt
from proxy_cli.callers import Caller, Scope
from proxy_cli.config.schema import Config
from proxy_cli.errors import Unprocessable
from proxy_cli.prices.table import PriceTable
from proxy_cli.routing.table import Table
from proxy_cli.secret import Scrubber, Secret
from proxy_cli.shapes import NOTHING, Json

T = TypeVar("T")
Row = Mapping[str, Any]  # of a table, by its columns' names
Access = Literal["public", "key", "self", "viewer", "admin"]
Tag = Literal["keys", "users", "teams", "organizations", "customers", "budgets", "tags", "spend", "models"]

LONGEST_ID: Final = 256
MOST_USD: Final = 9e9
_DEEPEST: Final = 64
# Each value takes its time, in which nobody else is served, and is read again with every request of a key.
_MOST_VALUES: Final = 20_000
_MOST_NAMES: Final = 2_000
_MOST_COUNT: Final = 2**53  # JavaScript, too, reads whole numbers up to here

# The kinds of value that bodies are made of. PostgreSQL's indexes take no text beyond some 2,700 bytes.
Id = Annotated[str, Meta(max_length=LONGEST_ID)] | None | UnsetType
Text = Annotated[str, Meta(max_length=4096)] | None | UnsetType
Flag = bool | None | UnsetType
Usd = Annotated[float, Meta(ge=0, le=MOST_USD)] | None | UnsetType
Count = Annotated[int, Meta(ge=0, le=_MOST_COUNT)] | None | UnsetType
Names = Annotated[list[Annotated[str, Meta(max_length=LONGEST_ID)]], Meta(max_length=_MOST_NAMES)] | None | UnsetType
Map = dict[str, Any] | None | UnsetType
Counts = (
    Annotated[dict[str, Annotated[int, Meta(ge=0, le=_MOST_COUNT)]], Meta(max_length=_MOST_NAMES)] | None | UnsetType
)


class Storage(Protocol):
    """The database, as far as endpoints need it."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` comes to, in one transaction."""


class Known(Protocol):
    """Callers that this process remembers."""

    def forget(self, kind: str, name: str, /) -> None:
        """Something about them has changed."""


class Counted(Protocol):
    """What is counted right now, in this server."""

    def spent(self, scope: Scope) -> int:
        """Nano-dollars of its present window."""

    def tracked(self) -> Sequence[tuple[str, str, int]]:
        """Kind, id and window of all that is counted."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One question, from somebody who may ask it."""

    caller: Caller
    query: Mapping[str, str] = NOTHING
    slot: str | None = None  # the part of the path that stands for a name
    body: Any = None  # decoded as the endpoint's type
    raw: Mapping[str, Json] = NOTHING  # the same as it came: which fields were set


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What endpoints work with."""

    store: Storage
    callers: Known
    config: Config
    table: Table
    prices: PriceTable
    scrubber: Scrubber
    limits: Counted | None = None
    ledger: object | None = None
    wall: Callable[[], float] = time.time  # unix seconds
    seal_secret: Secret | None = None  # what secrets in the database are sealed with
    stores_models: bool = False  # STORE_MODEL_IN_DB

    def forget(self, kind: str, *ids: str) -> None:
        """Have this process forget what has just been changed; the others learn it from the store."""
        for each in ids:
            self.callers.forget(kind, each)


Answering = Callable[[Office, Ask], Awaitable[Json]]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One path and method, who may ask, what the body is, and the function that answers."""

    method: Method
    path: str
    name: str  # unique
    summary: str
    tag: Tag
    access: Access
    answer: Answering
    body: type[msgspec.Struct] | None = None
    query: tuple[str, ...] = ()  # the names that it reads of a query
    # Fields that are kept and given back for LiteLLM's clients, and have no effect here: the answer names those sent.
    inert: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Section:
    """What the endpoints of one file share, said once; an endpoint of its own access says that itself."""

    tag: Tag
    access: Access = "self"
    inert: frozenset[str] = frozenset()  # as far as an endpoint's body has these fields

    def get(
        self,
        path: str,
        name: str,
        summary: str,
        answer: Answering,
        *,
        query: tuple[str, ...] = (),
        access: Access | None = None,
    ) -> Endpoint:
        """An endpoint that is asked by its path and its query."""
        return Endpoint(
            method="GET",
            path=path,
            name=name,
            summary=summary,
            tag=self.tag,
            access=access or self.access,
            answer=answer,
            query=query,
        )

    def post(
        self,
        path: str,
        name: str,
        summary: str,
        answer: Answering,
        body: type[msgspec.Struct] | None = None,
        *,
        access: Access | None = None,
        method: Method = "POST",
    ) -> Endpoint:
        """An endpoint that is sent a body of this kind, if any."""
        return Endpoint(
            method=method,
            path=path,
            name=name,
            summary=summary,
            tag=self.tag,
            access=access or self.access,
            answer=answer,
            body=body,
            inert=frozenset() if body is None else self.inert & set(body.__struct_fields__),
        )


def decoded(data: bytes, kind: type[msgspec.Struct]) -> tuple[msgspec.Struct, Mapping[str, Json]]:
    """A body as its endpoint's type, and as it came. Raises Unprocessable with the field at fault."""
    try:
        raw = msgspec.json.decode(data) if data.strip() else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Unprocessable("the body is not JSON; send an object of fields", param="body") from None
    if not isinstance(raw, dict):
        raise Unprocessable("the body is JSON, but no object; send an object of fields", param="body")
    _refuse_strange(raw, ("body",), 0)
    refuse_misspelt(raw, kind.__struct_fields__)
    try:
        return msgspec.convert(raw, kind, strict=False), raw
    except msgspec.ValidationError as error:
        raise bad_field(str(error), kind) from None


def _refuse_strange(value: Json, place: tuple[str, ...], before: int) -> int:
    """Refuse what no database keeps: a NUL in a text, nesting without end, and more than anybody means to say.

    `before`: how many values there were until here; with this one and what is in it, is what comes back.
    """
    if before >= _MOST_VALUES:
        raise Unprocessable(f"the body holds more than {_MOST_VALUES} values; send it in parts", param="body")
    if isinstance(value, str):
        if "\0" in value:
            raise Unprocessable(f"{'.'.join(place)} holds a NUL character; leave it out", param=".".join(place[:2]))
        return before + 1
    if len(place) > _DEEPEST:
        raise Unprocessable(f"{'.'.join(place[:2])} is nested too deeply; {_DEEPEST} levels are read", param=place[1])
    if isinstance(value, dict):
        for name, each in value.items():
            _refuse_strange(name, place, 0)
            before = _refuse_strange(each, (*place, name[:LONGEST_ID]), before)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            before = _refuse_strange(each, (*place, str(number)), before)
    return before + 1


def given(body: msgspec.Struct, *without: str) -> dict[str, Json]:
    """The fields of a body that were sent, by name; None where they are to be taken away."""
    pairs = ((name, getattr(body, name)) for name in body.__struct_fields__ if name not in without)
    return {name: msgspec.to_builtins(value) for name, value in pairs if value is not UNSET}


def merged(former: Mapping[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
    """Fields as they are after a change: None takes one away."""
    return {name: value for name, value in {**former, **changes}.items() if value is not None}


def value_of(value: T | UnsetType | None, default: T) -> T:
    """What was said, else the default."""
    return default if value is UNSET or value is None else value


def rows_of(connection: Connection, query: Select[Any]) -> list[Row]:
    """The rows that a query finds."""
    return [cast("Row", each) for each in connection.execute(query).mappings()]


def row_of(connection: Connection, query: Select[Any]) -> Row | None:
    """The one row that a query finds, if any."""
    return cast("Row | None", connection.execute(query).mappings().one_or_none())


def text(ask: Ask, name: str) -> str | None:
    """A text of the query; None where it is missing or empty. Raises Unprocessable for what no id is."""
    value = ask.query.get(name)
    if value is not None and len(value) > 4 * LONGEST_ID:
        raise Unprocessable(f"{name} has {len(value)} characters; {4 * LONGEST_ID} are read", param=name)
    return value or None


def texts(ask: Ask, name: str) -> list[str]:
    """A list of the query, its entries parted by commas."""
    return [each for part in (text(ask, name) or "").split(",") if (each := part.strip())]


def number(ask: Ask, name: str, default: int, *, least: int = 1, most: int = 1_000_000) -> int:
    """A whole number of the query. Raises Unprocessable where it is none, or out of bounds."""
    value = ask.query.get(name)
    if value is None or value == "":
        return default
    if not (value.isascii() and value.removeprefix("-").isdigit() and len(value) <= 18):
        raise Unprocessable(f"{name} is {value[:40]!r}; give a whole number", param=name)
    if not least <= int(value) <= most:
        raise Unprocessable(f"{name} is {value}; give a number from {least} to {most}", param=name)
    return int(value)


def flag(ask: Ask, name: str, *, default: bool = False) -> bool:
    """A yes or no of the query. Raises Unprocessable for another word."""
    value = ask.query.get(name, "").lower()
    if value in {"", "null", "none"}:
        return default
    if value in {"true", "1", "yes", "on"}:
        return True
    if value in {"false", "0", "no", "off"}:
        return False
    raise Unprocessable(f"{name} is {value[:40]!r}; give true or false", param=name)


def choice(ask: Ask, name: str, known: Sequence[str], default: str) -> str:
    """One of the words that are known. Raises Unprocessable for another one."""
    value = ask.query.get(name) or default
    if value not in known:
        raise Unprocessable(f"{name} is {value[:40]!r}; give one of {', '.join(known)}", param=name)
    return value


def like(part: str) -> str:
    """A pattern for `column.ilike(pattern, escape="\\\\")` that finds the part as it is written, `%` and `_` too."""
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


class Page(msgspec.Struct, frozen=True):
    """Which part of a list is asked for."""

    number: int
    size: int

    @property
    def skipped(self) -> int:
        """How many entries come before it."""
        return (self.number - 1) * self.size

    def pages(self, total: int) -> int:
        """How many there are."""
        return -(-total // self.size)


def page(ask: Ask, size_name: str = "size", *, default: int = 10, most: int = 100) -> Page:
    """The part of a list that the query asks for. Raises Unprocessable."""
    return Page(number(ask, "page", 1), number(ask, size_name, default, most=most))
