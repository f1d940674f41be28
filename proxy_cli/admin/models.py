"""Deployments that are added, changed and taken away while the server runs: kept in the database.

Owns the rules of what may be added so. Refuses what would never answer, what names a file of this machine, and an
address of a metadata service. Rule: a key goes to no other place than the one it was given for; who changes the place
gives the key again.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from proxy_cli.admin.base import Ask, Id, Map, Office, Section, merged, value_of
from proxy_cli.admin.budgets import changed_by, made_by
from proxy_cli.admin.seal import known_seal, seal_of
from proxy_cli.admin.stored import as_mapping, opened, said, sealed
from proxy_cli.admin.teams import offer_model
from proxy_cli.config.destination import refused
from proxy_cli.config.models import ModelEntry
from proxy_cli.config.privacy import is_secret_name
from proxy_cli.config.reading import Unreadable
from proxy_cli.deployments import Common, resolve_entry
from proxy_cli.errors import Conflict, InvalidRequest, NotFound, Unprocessable
from proxy_cli.shapes import Backend, Deployment, Json, Proxy
from proxy_cli.store.changes import say_changed
from proxy_cli.store.moments import iso
from proxy_cli.store.tables import MODELS

KIND: Final = "model"
_MADE_UP: Final = Backend("http", "mock", 80)
_CREDENTIALS: Final = frozenset({"api_key", "headers", "extra_headers", "extra_body", "http_proxy"})
_FILES: Final = ("ssl_certificate", "ssl_keyfile")
_OWN_INFO: Final = frozenset({"db_model", "created_at", "created_by", "updated_at", "updated_by"})


class NewModel(msgspec.Struct, kw_only=True):
    """A deployment, as in `model_list`."""

    model_name: str
    litellm_params: dict[str, Any]
    model_info: Map = msgspec.UNSET


class ChangedModel(msgspec.Struct, kw_only=True):
    """What is to be different about a deployment; a parameter that is null is taken away."""

    model_name: Id = msgspec.UNSET
    litellm_params: Map = msgspec.UNSET
    model_info: Map = msgspec.UNSET


class OneModel(msgspec.Struct, kw_only=True):
    """Which deployment."""

    id: Id = msgspec.UNSET
    model_id: Id = msgspec.UNSET


async def new(office: Office, ask: Ask) -> Json:
    """`POST /model/new`: a further deployment. Raises Unprocessable, Conflict, InvalidRequest."""
    _must_be_kept(office)
    body: NewModel = ask.body
    info = value_of(body.model_info, {})
    model_id = str(info.get("id") or uuid.uuid4())
    team_id = str(info.get("team_id") or "")
    params = merged({}, body.litellm_params)
    _checked(office, {"model_name": body.model_name, "litellm_params": params, "model_info": _info(info, model_id)})
    if office.table.by_id(model_id) is not None:
        raise _taken(model_id)

    def work(connection: Connection) -> Json:
        if _found(connection, model_id) is not None:
            raise _taken(model_id)
        if team_id:
            offer_model(connection, ask.caller, team_id, body.model_name)
        seal = seal_of(connection, office.seal_secret)
        connection.execute(
            insert(MODELS).values(
                model_id=model_id,
                model_name=body.model_name,
                params=sealed(seal, model_id, params),
                info=_info(info),
                **made_by(ask.caller),
            )
        )
        say_changed(connection, KIND, model_id)
        return _said(connection, office, model_id)

    answer = await _changed(office, model_id, work)
    if team_id:
        office.forget("team", team_id)
    return answer


async def change(office: Office, ask: Ask) -> Json:
    """`POST /model/update` and `PATCH /model/{id}/update`. Raises as `new`, and NotFound."""
    _must_be_kept(office)
    body: ChangedModel = ask.body
    info = value_of(body.model_info, {})
    model_id = str(ask.slot or info.get("id") or "")
    if not model_id:
        raise Unprocessable("model_info.id is missing: which model?", param="model_info.id")

    def work(connection: Connection) -> Json:
        row = _row(connection, office, model_id)
        seal = seal_of(connection, office.seal_secret)
        former = as_mapping(row, seal)
        later = {
            "model_name": value_of(body.model_name, row.model_name),
            "litellm_params": merged(former["litellm_params"], value_of(body.litellm_params, {})),
            "model_info": _info(merged(row.info, info), model_id),
        }
        deployment = _checked(office, later)
        _refuse_leak(office, former, deployment, value_of(body.litellm_params, {}))
        values = {
            "model_name": later["model_name"],
            "params": sealed(seal, model_id, later["litellm_params"]),
            "info": _info(later["model_info"]),
        }
        _write(connection, ask, model_id, values)
        return _said(connection, office, model_id)

    return await _changed(office, model_id, work)


async def remove(office: Office, ask: Ask) -> Json:
    """`POST /model/delete`. Raises NotFound."""
    model_id = _named(ask)

    def work(connection: Connection) -> Json:
        _row(connection, office, model_id)
        connection.execute(delete(MODELS).where(MODELS.c.model_id == model_id))
        say_changed(connection, KIND, model_id)
        return {"message": f"Model: {model_id} deleted successfully"}

    return await _changed(office, model_id, work)


async def block(office: Office, ask: Ask) -> Json:
    """`POST /model/block`: no request gets to it until it is unblocked. Raises NotFound."""
    return await _blocked(office, ask, is_blocked=True)


async def unblock(office: Office, ask: Ask) -> Json:
    """`POST /model/unblock`. Raises NotFound."""
    return await _blocked(office, ask, is_blocked=False)


async def _blocked(office: Office, ask: Ask, *, is_blocked: bool) -> Json:
    model_id = _named(ask)

    def work(connection: Connection) -> Json:
        _row(connection, office, model_id)
        _write(connection, ask, model_id, {"blocked": is_blocked})
        return _said(connection, office, model_id)

    return await _changed(office, model_id, work)


async def _changed(office: Office, model_id: str, work: Callable[[Connection], Json]) -> Json:
    answer = await office.store.write(work)
    office.forget(KIND, model_id)
    return answer


def _write(connection: Connection, ask: Ask, model_id: str, values: Mapping[str, Json]) -> None:
    changed = {**values, **changed_by(ask.caller)}
    connection.execute(update(MODELS).where(MODELS.c.model_id == model_id).values(**changed))
    say_changed(connection, KIND, model_id)


def _must_be_kept(office: Office) -> None:
    if not (office.stores_models or office.config.general_settings.store_model_in_db):
        raise InvalidRequest(
            "models are not kept in the database here: set general_settings.store_model_in_db: true, or add the model "
            "to the configuration file",
            code="models_not_stored",
        )


def _named(ask: Ask) -> str:
    body: OneModel = ask.body
    named = value_of(body.id, "") or value_of(body.model_id, "")
    if not named:
        raise Unprocessable("id is missing: which model?", param="id")
    return named


def _found(connection: Connection, model_id: str) -> Any:
    return connection.execute(select(MODELS).where(MODELS.c.model_id == model_id)).one_or_none()


def _row(connection: Connection, office: Office, model_id: str) -> Any:
    """The row of a model. Raises NotFound, or InvalidRequest for one that the file has."""
    row = _found(connection, model_id)
    if row is not None:
        return row
    if office.table.by_id(model_id) is not None:
        raise InvalidRequest(
            f"the model {model_id[:100]!r} stands in the configuration file; change it there", code="model_in_file"
        )
    raise NotFound(f"no model has the id {model_id[:100]!r}; GET /model/info lists them", param="id")


def _taken(model_id: str) -> Conflict:
    return Conflict(f"there is a model with the id {model_id[:100]!r}; leave model_info.id out, or choose another one")


def _info(info: Mapping[str, Json], model_id: str | None = None) -> dict[str, Json]:
    """What is said of a model, without what the row says itself."""
    own = {name: value for name, value in info.items() if name not in _OWN_INFO and name != "id"}
    return own if model_id is None else {**own, "id": model_id, "db_model": True}


def _checked(office: Office, entry: Mapping[str, Json]) -> Deployment:
    """What an entry comes to. Raises Unprocessable where it would never answer, or must not be asked."""
    for name in _FILES:
        if entry["litellm_params"].get(name) is not None:
            raise Unprocessable(f"{name} names a file of this machine; such a model belongs in the file", param=name)
    if isinstance(entry["litellm_params"].get("ssl_verify"), str):
        raise Unprocessable("ssl_verify is true or false here; a path belongs in the file", param="ssl_verify")
    try:
        read = ModelEntry.model_validate(entry)
        credentials = {each.credential_name: each for each in office.config.credential_list}
        # No variable is looked at: what a server of one's own gets is what is written here.
        deployment = resolve_entry(read, Common(environ={}, prices=office.prices, credentials=credentials)).deployment
    except Unreadable as error:
        raise Unprocessable(said(error), param="litellm_params") from None
    except ValueError as error:
        raise Unprocessable(f"litellm_params: {error}", param="litellm_params") from None
    allowed = office.config.general_settings.provider_url_destination_allowed_hosts
    for backend in (deployment.backend, _of_proxy(deployment.backend.proxy)):
        if (why := refused(backend, allowed)) is not None:
            raise Unprocessable(
                f"api_base: {backend.host} {why}; if that is meant, name it in "
                "general_settings.provider_url_destination_allowed_hosts",
                param="litellm_params.api_base",
            )
    return deployment


def _of_proxy(proxy: Proxy | None) -> Backend:
    return _MADE_UP if proxy is None else Backend("http", proxy.host, proxy.port)


def _refuse_leak(office: Office, former: Mapping[str, Json], later: Deployment, given: Mapping[str, Json]) -> None:
    """Raise Conflict where a key that is kept would go to a place it was not given for."""
    params = former["litellm_params"]
    kept = sorted(name for name in params if (name in _CREDENTIALS or is_secret_name(name)) and name not in given)
    if not kept:
        return
    try:
        before = _checked(office, former).backend
    except Unprocessable:
        before = _MADE_UP
    if before != later.backend:
        raise Conflict(
            f"nothing was changed: {', '.join(kept)} would go to {later.backend}, for which it was not given; send it "
            "again with the new address, or null to take it away",
            code="key_needed_again",
            param=f"litellm_params.{kept[0]}",
        )


def _said(connection: Connection, office: Office, model_id: str) -> Json:
    """A row as it is shown: without secrets."""
    row = _found(connection, model_id)
    params = opened(known_seal(connection, office.seal_secret), model_id, row.params)
    entry = ModelEntry.model_validate({"model_name": row.model_name, "litellm_params": params})
    return {
        "model_id": model_id,
        "model_name": row.model_name,
        "litellm_params": entry.litellm_params.public(),
        "model_info": {**row.info, "id": model_id, "db_model": True},
        "blocked": row.blocked,
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
        "updated_at": iso(row.updated_at),
        "updated_by": row.updated_by,
    }


_SECTION: Final = Section("models", "admin")
ENDPOINTS: Final = (
    _SECTION.post("/model/new", "model_new", "Add a deployment", new, NewModel),
    _SECTION.post("/model/update", "model_update", "Change a deployment that was added so", change, ChangedModel),
    _SECTION.post(
        "/model/{model}/update",
        "model_patch",
        "Change a deployment that was added so",
        change,
        ChangedModel,
        method="PATCH",
    ),
    _SECTION.post("/model/delete", "model_delete", "Take away a deployment that was added so", remove, OneModel),
    _SECTION.post("/model/block", "model_block", "Give a deployment no more requests", block, OneModel),
    _SECTION.post("/model/unblock", "model_unblock", "Give a deployment requests again", unblock, OneModel),
)
