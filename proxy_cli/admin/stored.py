"""Deployments that stand in the database: what is kept of them, sealed, and what they are in the routing table.

Owns the row and its way to an entry of `model_list` and back. Rule: of `litellm_params` only names, numbers and
addresses are kept as they are; every other text may be a secret and is sealed, whatever its field is called. What is
kept is plain text: `os.environ/NAME` in it names no variable, and no setting in it names a file of this machine.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select, update

from proxy_cli.admin.seal import Seal, SealProblem, checked, keep, known_seal
from proxy_cli.config.models import ModelEntry
from proxy_cli.config.reading import Unreadable
from proxy_cli.secret import Secret
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.tables import MODELS, SETTINGS

SEALED: Final = "sealed"
# Texts among the parameters that are no secret, and are worth to be read in the database as they are.
_PLAIN: Final = frozenset(
    {
        "model",
        "api_base",
        "base_url",
        "api_version",
        "custom_llm_provider",
        "litellm_credential_name",
        "region_name",
    }
)


@dataclass(frozen=True, slots=True)
class Stored:
    """The entries that the database adds to `model_list`, and a sentence for each one that cannot be used."""

    entries: tuple[ModelEntry, ...]
    problems: tuple[str, ...]


def sealed(seal: Seal, model_id: str, params: Mapping[str, Json]) -> dict[str, Json]:
    """Parameters as they are kept."""
    return {
        name: value if name in _PLAIN else _sealed(seal, f"model {model_id} {name}", value)
        for name, value in params.items()
    }


def _sealed(seal: Seal, place: str, value: Json) -> Json:
    match value:
        case str():
            return {SEALED: seal.seal(value, place)}
        case dict():
            return {name: _sealed(seal, f"{place}.{name}", each) for name, each in value.items()}
        case list():
            return [_sealed(seal, f"{place}.{number}", each) for number, each in enumerate(value)]
    return value


def opened(seal: Seal | None, model_id: str, params: Mapping[str, Json]) -> dict[str, Json]:
    """Parameters as they were given. Raises SealProblem."""
    return {
        name: value if name in _PLAIN else _opened(seal, f"model {model_id} {name}", value)
        for name, value in params.items()
    }


def _opened(seal: Seal | None, place: str, value: Json) -> Json:
    match value:
        case {"sealed": str() as text} if len(value) == 1:
            if seal is None:
                raise SealProblem(f"the secret of {place} in the database has lost the row it is opened with")
            return seal.open(text, place)
        case dict():
            return {name: _opened(seal, f"{place}.{name}", each) for name, each in value.items()}
        case list():
            return [_opened(seal, f"{place}.{number}", each) for number, each in enumerate(value)]
    return value


def as_mapping(row: Any, seal: Seal | None) -> dict[str, Json]:
    """A row as the entry of `model_list` that it stands for. Raises SealProblem."""
    return {
        "model_name": row.model_name,
        "litellm_params": opened(seal, row.model_id, row.params),
        "model_info": {**row.info, "id": row.model_id, "db_model": True},
    }


def stored_models(connection: Connection, seal: Seal | None) -> list[Mapping[str, Json]]:
    """The entries that the database adds, the oldest first, but for blocked ones. Raises SealProblem."""
    query = select(MODELS).where(MODELS.c.blocked.is_(False)).order_by(MODELS.c.created_at, MODELS.c.model_id)
    return [as_mapping(row, seal) for row in connection.execute(query).all()]


def entries_of(found: Iterable[Mapping[str, Json]]) -> Stored:
    """The same as entries; one that cannot be read is left out, for one bad row must not stop a server."""
    entries, problems = [], []
    for each in found:
        try:
            entries.append(ModelEntry.model_validate(each))
        except Unreadable as error:
            problems.append(f"the stored model {each['model_info']['id']} is left out: {said(error)}")
    return Stored(tuple(entries), tuple(problems))


def said(error: Unreadable) -> str:
    """What is wrong with an entry, in one sentence, without a value of it."""
    return "; ".join(f"{'.'.join(map(str, each.path))} {each}" for each in error.mistakes)


def load(connection: Connection, secret: Secret | None) -> Stored:
    """What the database adds to `model_list`. Raises SealProblem where the key is not the one it was sealed with."""
    return entries_of(stored_models(connection, known_seal(connection, secret)))


def rotate(connection: Connection, former: Secret, present: Secret) -> int:
    """Seal every secret anew; how many models there are. Raises SealProblem where the former key is another one."""
    kept = connection.scalar(select(SETTINGS.c.value).where(SETTINGS.c.name == "seal"))
    if kept is None:
        return 0
    old, new = checked(former, kept), Seal.fresh(present)
    rows = connection.execute(select(MODELS.c.model_id, MODELS.c.params)).all()
    for row in rows:
        params = sealed(new, row.model_id, opened(old, row.model_id, row.params))
        connection.execute(update(MODELS).where(MODELS.c.model_id == row.model_id).values(params=params))
        say_changed(connection, "model", row.model_id)
    keep(connection, new)
    return len(rows)
