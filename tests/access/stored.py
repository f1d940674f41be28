"""Keys, users and teams in a store, for the tests of who may call."""

from hashlib import sha256

from sqlalchemy import delete, insert, update

from proxy_cli.store.changes import say_changed
from proxy_cli.store.tables import BUDGETS, KEYS, MEMBERS, ORGANIZATIONS, TEAMS, USERS

KEY = "sk-key-of-somebody-0001"
MASTER = "sk-master-0123456789"


def digest_of(key):
    """As it stands in the store."""
    return sha256(key.encode()).hexdigest()


def bearer(key=KEY):
    """A request's headers."""
    return (("user-agent", "a test"), ("authorization", f"Bearer {key}"))


def key_row(key=KEY, **columns):
    """Work that puts a key into the store; `fields` are LiteLLM's."""
    values = {"digest": digest_of(key), "hint": f"sk-...{key[-4:]}", "fields": {}, **columns}
    return lambda connection: connection.execute(insert(KEYS).values(**values))


def user(user_id="u", **columns):
    return lambda connection: connection.execute(insert(USERS).values(user_id=user_id, **{"fields": {}, **columns}))


def team(team_id="t", **columns):
    return lambda connection: connection.execute(insert(TEAMS).values(team_id=team_id, **{"fields": {}, **columns}))


def member(team_id="t", user_id="u", **columns):
    values = {"team_id": team_id, "user_id": user_id, "fields": {}, **columns}
    return lambda connection: connection.execute(insert(MEMBERS).values(**values))


def organization(organization_id="o", **columns):
    values = {"organization_id": organization_id, "fields": {}, **columns}
    return lambda connection: connection.execute(insert(ORGANIZATIONS).values(**values))


def budget(budget_id, **fields):
    return lambda connection: connection.execute(insert(BUDGETS).values(budget_id=budget_id, fields=fields))


def changed_key(key=KEY, **columns):
    """Work that changes a key and says so."""

    def work(connection):
        connection.execute(update(KEYS).where(KEYS.c.digest == digest_of(key)).values(**columns))
        say_changed(connection, "key", digest_of(key))

    return work


def deleted_key(key=KEY):
    """Work that deletes a key and says so."""

    def work(connection):
        connection.execute(delete(KEYS).where(KEYS.c.digest == digest_of(key)))
        say_changed(connection, "key", digest_of(key))

    return work


async def put(store, *works):
    """All of these in one transaction."""
    await store.write(lambda connection: [work(connection) for work in works])
