"""The names that callers may ask for, with what stands behind each: for clients that choose a model by its abilities.

Owns LiteLLM's `/model_group/info` and `/v2/model/info`. Rule: a caller sees the names that it may ask for, and no
others; nothing secret is among what is said.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from proxy_cli.access.models import may_ask
from proxy_cli.admin.base import Ask, Office, Section, choice, page, text
from proxy_cli.admin.tokens import fields_of
from proxy_cli.errors import NotFound, UnknownModel
from proxy_cli.providers.catalog import ROWS
from proxy_cli.shapes import NOTHING, Deployment, Json

MOST_OF_PROVIDER: Final = 500  # names that stand for one wildcard
_ABILITIES: Final = (
    "supports_vision",
    "supports_function_calling",
    "supports_parallel_function_calling",
    "supports_web_search",
    "supports_url_context",
    "supports_reasoning",
    "supports_response_schema",
    "supports_prompt_caching",
    "supports_audio_input",
    "supports_audio_output",
)
_NUMBERS: Final = ("max_input_tokens", "max_output_tokens")
_PRICES: Final = ("input_cost_per_token", "output_cost_per_token")


def facts_of(office: Office, deployment: Deployment) -> Mapping[str, Json]:
    """What is known of a deployment: what the price table says, and over it what its entry says."""
    known = office.prices.find(deployment.model, deployment.provider, deployment.info.get("base_model")) or NOTHING
    return {**known, **deployment.rates, **deployment.info}


async def groups(office: Office, ask: Ask) -> Json:
    """`/model_group/info`: each name with its abilities; `?model_group=` for one. Raises NotFound."""
    wanted = text(ask, "model_group")
    names = [wanted] if wanted else office.table.names()
    found = [
        _group(office, shown, deployments)
        for name in names
        for shown, deployments in _expanded(office, name)
        if may_ask(ask.caller, shown, office.table.words)
    ]
    if wanted and not found:
        raise NotFound(f"no model is named {wanted[:100]!r}; GET /model_group/info lists them", param="model_group")
    return {"data": found}


def _expanded(office: Office, name: str) -> Iterable[tuple[str, Sequence[Deployment]]]:
    """A name with its deployments; a wildcard of one provider as the models that the price table knows of it."""
    deployments = office.table.group_of(name) or _of_wildcard(office, name)
    if not deployments:
        return
    first = deployments[0]
    if "*" not in name or not _is_listed(first):
        yield name, deployments
        return
    for model in office.prices.names_of(first.provider)[:MOST_OF_PROVIDER]:
        shown = name.replace("*", model, 1)
        if "*" not in shown:
            yield shown, _of_wildcard(office, shown)


def _of_wildcard(office: Office, name: str) -> Sequence[Deployment]:
    try:
        return office.table.known(name)
    except UnknownModel:
        return ()


def _is_listed(deployment: Deployment) -> bool:
    """Whether the price table knows what a wildcard stands for: of a server of one's own nobody knows its models."""
    row = ROWS.get(deployment.provider)
    if row is None or "*" not in deployment.model:
        return False
    return deployment.provider != "openai" or deployment.backend.host in row.base_url


def _group(office: Office, name: str, deployments: Sequence[Deployment]) -> Json:
    facts = [facts_of(office, each) for each in deployments]
    return {
        "model_group": name,
        "providers": sorted({each.provider for each in deployments}),
        "mode": next((each.mode for each in deployments if each.mode), None) or _first(facts, "mode"),
        **{key: _most(facts, key) for key in _NUMBERS},
        **{key: _most([each.rates for each in deployments], key) for key in _PRICES},
        "tpm": _sum(each.tpm for each in deployments),
        "rpm": _sum(each.rpm for each in deployments),
        **{ability: any(each.get(ability) is True for each in facts) for ability in _ABILITIES},
        "supported_openai_params": sorted({field for each in deployments for field in fields_of(each)}),
        "configurable_clientside_auth_params": None,
        "is_public_model_group": False,
    }


def _first(facts: Iterable[Mapping[str, Json]], name: str) -> Json:
    return next((each[name] for each in facts if each.get(name) is not None), None)


def _most(facts: Iterable[Mapping[str, Json]], name: str) -> float | None:
    """The highest of the values that are numbers."""
    values = [value for each in facts if isinstance(value := each.get(name), int | float)]
    return max(values, default=None)


def _sum(limits: Iterable[int | None]) -> int | None:
    known = [each for each in limits if each is not None]
    return sum(known) if known else None


async def deployments(office: Office, ask: Ask) -> Json:
    """`/v2/model/info`: deployments page by page, those that a query names."""
    part = page(ask, "size", default=50, most=1000)
    wanted = [
        each
        for each in office.table.deployments
        if may_ask(ask.caller, each.group, office.table.words) and _fits(ask, each)
    ]
    if text(ask, "sortBy") or text(ask, "sort_by"):
        wanted.sort(key=lambda each: each.group, reverse=choice(ask, "sortOrder", ("asc", "desc"), "asc") == "desc")
    return {
        "data": [shown(office, each) for each in wanted[part.skipped : part.skipped + part.size]],
        "total_count": len(wanted),
        "current_page": part.number,
        "total_pages": part.pages(len(wanted)),
        "size": part.size,
    }


def _fits(ask: Ask, deployment: Deployment) -> bool:
    model, identity = text(ask, "model"), text(ask, "modelId") or text(ask, "litellm_model_id")
    search = (text(ask, "search") or "").lower()
    return (
        (model is None or deployment.group == model)
        and (identity is None or deployment.id == identity)
        and (search in deployment.group.lower() or search in deployment.model.lower())
    )


def shown(office: Office, deployment: Deployment) -> Json:
    """A deployment as `/model/info` shows it, without secrets."""
    is_stored = bool(deployment.info.get("db_model"))
    return {
        "model_name": deployment.group,
        "litellm_params": dict(deployment.params),
        "model_info": {**facts_of(office, deployment), "id": deployment.id, "db_model": is_stored},
    }


_SECTION: Final = Section("models", "key")
ENDPOINTS: Final = (
    _SECTION.get(
        "/model_group/info", "model_group_info", "The names that may be asked for, and what they can do", groups
    ),
    _SECTION.get("/v2/model/info", "model_info_v2", "Deployments, page by page", deployments),
)
