"""Whom and what a request names beside its key: the end user it is made for, and tags; where the store knows them.

Owns what this process knows of end users and tags, bounded in number. What the store does not know is not limited and
makes no work: a caller who names a new end user with each request costs one look for the first of them. While the store
does not answer, a request goes on with the limits that are known: its key's own hold in any case.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, TypeVar

import msgspec
from sqlalchemy import Connection, Table, select

from proxy_cli.access.grants import Row, Terms, allows, limits_of, scope_of
from proxy_cli.access.lookups import Lookups, read_budget, read_customers, read_tags
from proxy_cli.access.models import further
from proxy_cli.callers import Bounds, Caller, Extra, Scope
from proxy_cli.clock import Clock
from proxy_cli.errors import Forbidden, ModelDenied
from proxy_cli.shapes import NOTHING, Call, Fields, Json
from proxy_cli.store.base import Store
from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.tables import END_USERS, TAGS
from proxy_cli.tasks import Tasks
from proxy_cli.wire.request import text

T = TypeVar("T")
Found = tuple[Row, Row | None]  # a row, and its budget's

_HEADERS: Final = frozenset({"x-litellm-end-user-id", "x-litellm-customer-id"})
_LONGEST: Final = 256  # of an end user's id; what is longer is known by its beginning
_MOST: Final = 10_000
_NOBODY: Final[Extra] = ("", (), None)
_EVERYTHING: Final = "*"


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an end user. Without a scope nothing is counted for it but its rows in the ledger."""

    scope: Scope | None = None
    models: frozenset[str] = frozenset()
    bounds: Bounds | None = None
    is_blocked: bool = False


class Tag(msgspec.Struct, frozen=True):
    """What is known of a tag."""

    scope: Scope | None = None


_UNKNOWN: Final = Customer()
_NO_TAG: Final = Tag()


class Cache(Generic[T]):
    """Things of one table by their ids, each looked up when it is first named."""

    def __init__(
        self, store: Store, lookups: Lookups[Found], table: Table, made: Callable[[str, Found | None], T]
    ) -> None:
        self._store = store
        self._lookups = lookups
        self._table = table
        self._made = made
        self._known: dict[str, T] = {}
        self._version = 0  # of what was changed
        self._has_rows: bool | None = None  # None: not known

    def get(self, id: str) -> T | None:  # noqa: A002 - the store's name for it
        """What is known; None where it has to be found."""
        return self._made(id, None) if self._has_rows is False else self._known.get(id)

    async def find(self, id: str) -> T:  # noqa: A002 - the store's name for it
        """What the store says of it. Raises StoreUnavailable."""
        known = self.get(id)
        if known is not None:
            return known
        if self._has_rows is None:
            version, has_rows = self._version, await self._store.read(self._is_used)
            if version == self._version:
                self._has_rows = has_rows
            if not has_rows:
                return self._made(id, None)
        version = self._version
        made = self._made(id, await self._lookups.find(id))
        if version != self._version:
            return made  # it may have been changed after it was read
        self._known[id] = made
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return made

    def forget(self, id: str | None) -> None:  # noqa: A002 - the store's name for it
        """One was changed, or made; None: all may have been."""
        self._has_rows = None
        self._version += 1
        if id is None:
            self._known.clear()
        else:
            self._known.pop(id, None)

    def _is_used(self, connection: Connection) -> bool:
        return connection.execute(select(1).select_from(self._table).limit(1)).first() is not None


class Named:
    """End users and tags of the requests of one process."""

    def __init__(self, store: Store, *, clock: Clock, tasks: Tasks) -> None:
        self._store = store
        self._terms = Terms()
        self._usual: Row | None = None  # the budget of end users who have none
        self._has_usual = True  # whether that one is known
        self._headers: frozenset[str] = _HEADERS
        customers = Lookups(store, read_customers, clock=clock, tasks=tasks)
        tags = Lookups(store, read_tags, clock=clock, tasks=tasks)
        self._customers = Cache(store, customers, END_USERS, self._customer)
        self._tags = Cache(store, tags, TAGS, self._tag)

    def take(self, terms: Terms) -> None:
        """Go by another configuration from now on."""
        self._terms = terms
        self._headers = _HEADERS | frozenset(terms.customer_headers)
        self.forget(_EVERYTHING, "")

    def forget(self, kind: str, id: str) -> None:  # noqa: A002 - the store's name for it
        """Something was changed."""
        whole = kind in {_EVERYTHING, "budget"}
        if whole:
            self._has_usual = not self._terms.customer_budget_id
        if whole or kind == "end_user":
            self._customers.forget(None if whole else id)
        if whole or kind == "tag":
            self._tags.forget(None if whole else id)

    def known(self, caller: Caller, call: Call) -> Extra | None:
        """The end user's name and what is counted; None where the store has to be asked. Raises Forbidden."""
        end_user, tags = self._end_user(call), call.controls.tags
        if not end_user and not tags and not caller.tags:
            return _NOBODY
        customer: Customer | None = _UNKNOWN
        if end_user:
            customer = self._customers.get(end_user) if self._has_usual else None
        found = [self._tags.get(each) for each in _all_of(caller, tags)]
        if customer is None or None in found:
            return None
        return end_user, _scopes(end_user, customer, found, call), customer.bounds

    async def load(self, caller: Caller, call: Call) -> Extra:
        """The same from the store. Raises Forbidden."""
        end_user = self._end_user(call)
        customer = _UNKNOWN
        found: list[Tag | None] = []
        try:
            if end_user:
                await self._learn_usual()
                customer = await self._customers.find(end_user)
            found = [await self._tags.find(each) for each in _all_of(caller, call.controls.tags)]
        except StoreUnavailable:
            pass  # the limits that are known hold; those of the key do in any case
        return end_user, _scopes(end_user, customer, found, call), customer.bounds

    async def _learn_usual(self) -> None:
        if not self._has_usual:
            budget_id = self._terms.customer_budget_id
            self._usual = await self._store.read(lambda connection: read_budget(connection, budget_id))
            self._has_usual = True

    def _end_user(self, call: Call) -> str:
        """Whom a call is made for: by LiteLLM's headers, by those of the settings, or by a field of the body."""
        headers, mapped = self._headers, ""
        for name, value in call.headers:
            if name in headers and value:
                if name in _HEADERS:
                    return value[:_LONGEST]
                mapped = mapped or value
        return (mapped or _in_body(call.fields))[:_LONGEST]

    def _customer(self, id: str, found: Found | None) -> Customer:  # noqa: A002 - the store's name for it
        usual, terms = self._usual, self._terms
        if found is None and usual is None and terms.customer_budget_usd is None:
            return _UNKNOWN
        row, budget = found or (None, None)
        fields: Mapping[str, Json] = row["fields"] if row else NOTHING
        limits = limits_of(fields, budget or usual)
        if limits["max_budget"] is None and budget is None:
            limits["max_budget"] = terms.customer_budget_usd
        return Customer(
            scope=scope_of("end_user", id, row["alias"] if row else "", limits, terms.zone),
            models=frozenset(fields.get("models") or ()),
            bounds=_bounds(fields),
            is_blocked=bool(row and row["blocked"]),
        )

    def _tag(self, id: str, found: Found | None) -> Tag:  # noqa: A002 - the store's name for it
        if found is None:
            return _NO_TAG
        row, budget = found
        return Tag(scope=scope_of("tag", id, "", limits_of(row["fields"], budget), self._terms.zone))


def _in_body(fields: Fields) -> str:
    """The first that is said, in LiteLLM's order."""
    if "user" in fields and (name := text(fields, "user")):
        return name
    for place, key in (("litellm_metadata", "user"), ("metadata", "user_id")):
        if place in fields and (name := _in_object(fields[place], key)):
            return name
    return (text(fields, "safety_identifier") or "") if "safety_identifier" in fields else ""


def _in_object(raw: msgspec.Raw, key: str) -> str:
    # What is no object is somebody else's to refuse.
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    name = found.get(key) if isinstance(found, dict) else None
    return name if isinstance(name, str) else ""


def _bounds(fields: Mapping[str, Json]) -> Bounds | None:
    region = fields.get("allowed_model_region")
    return Bounds(str(region), str(fields.get("default_model") or "")) if region else None


def _all_of(caller: Caller, tags: tuple[str, ...]) -> Iterable[str]:
    return dict.fromkeys((*caller.tags, *tags))


def _scopes(end_user: str, customer: Customer, tags: Iterable[Tag | None], call: Call) -> tuple[Scope, ...]:
    """What is counted, or the refusal."""
    if customer.is_blocked:
        raise Forbidden(f"the end user {end_user[:100]!r} is blocked", code="blocked_end_user", param="user")
    if customer.models:
        for name in (call.model, *(target.model for target in further(call.controls))):
            if not allows(customer.models, name):
                raise ModelDenied(
                    f"the end user {end_user[:100]!r} may not ask for the model {name[:100]!r}",
                    kind="end_user_model_access_denied",
                )
    own = () if customer.scope is None else (customer.scope,)
    return own + tuple(each.scope for each in tags if each is not None and each.scope is not None)
