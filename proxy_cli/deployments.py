"""Config entries become Deployments: which provider, which address, which key, at what price.

It decides what a request would only find out later, and reports it with the place in the file. A request must never
go to a host that nobody named, nor a key from the environment to a host that it does not belong to.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import msgspec

from proxy_cli.config.address import is_loopback, parse_base
from proxy_cli.config.models import Credential, ModelEntry, ModelParams, SharedParams
from proxy_cli.config.privacy import HIDDEN, looks_secret
from proxy_cli.config.problem import Path, Place, Problem, Severity, did_you_mean, dotted
from proxy_cli.errors import UnknownModel
from proxy_cli.prices.cost import rates_of
from proxy_cli.prices.table import PriceTable
from proxy_cli.prices.terms import terms_for
from proxy_cli.prices.unpriced import refusal
from proxy_cli.providers import parameters
from proxy_cli.providers.catalog import ROWS, Compatible, is_known
from proxy_cli.providers.resolve import Resolved, resolve
from proxy_cli.routing.table import captured
from proxy_cli.secret import Secret
from proxy_cli.shapes import NOTHING, USUAL_TLS, Backend, Deployment, Headers, Json, Mirror, Proxy, Tls, header_text

_SECRET_HEADER: Final = re.compile("auth|key|token|secret|password|cookie")
# Files name them without a prefix, and the price list has no row of theirs.
_UNPRICED: Final = dict.fromkeys(
    ("dall-e-2", "dall-e-3", "text-moderation-latest", "text-moderation-stable", "chatgpt-4o-latest"), "openai"
)
# Kinds that a public name tells of the model behind it: `text-embedding-ada-002` stands for one that embeds, whatever
# its own name. Of chat, completions and responses it tells nothing: a server often has only one of them.
_TOLD_BY_NAME: Final = frozenset(
    {"embedding", "rerank", "moderation", "image_generation", "audio_speech", "audio_transcription"}
)
BY_NAME: Final = Backend("https", "by-name", 443)  # stands in for an address that the requested name decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What holds for every deployment unless its entry says otherwise."""

    environ: Mapping[str, str]
    prices: PriceTable
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    params: SharedParams = field(default_factory=SharedParams)  # router_settings.default_litellm_params
    drop_params: bool = False
    add_function_to_prompt: bool = False
    timeout_s: float | None = None
    stream_timeout_s: float | None = None
    max_parallel: int | None = None  # router_settings.default_max_parallel_requests
    heartbeat_s: float | None = None
    forced: Mapping[str, Json] = field(default_factory=lambda: NOTHING)
    headers: Mapping[str, str] = field(default_factory=dict)  # --headers
    forward_client_headers: bool = False
    forward_organization: bool = False
    tls: Tls = USUAL_TLS
    discounts: Mapping[str, Json] = field(default_factory=lambda: NOTHING)  # cost_discount_config
    margins: Mapping[str, Json] = field(default_factory=lambda: NOTHING)  # cost_margin_config
    needs_price: bool = False  # a deployment without one is never asked
    trusted: bool | str = True  # what `ssl_verify: true` stands for: SSL_CERT_FILE may name other certificates
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """All deployments, what the price table knows of each by its id, and what is wrong."""

    deployments: tuple[Deployment, ...]
    known: Mapping[str, Mapping[str, Json]]
    problems: tuple[Problem, ...]
    secrets: tuple[Secret, ...]
    expand: Callable[[Deployment, str], Deployment]


def build(entries: Sequence[ModelEntry], common: Common, place: Callable[[Path], Place]) -> Built:
    """Resolve every entry of model_list. An entry with an error is left out and reported."""
    problems: list[Problem] = []
    known: dict[str, Mapping[str, Json]] = {}
    deployments: list[Deployment] = []
    by_id: dict[str, ModelEntry] = {}
    for index, entry in enumerate(entries):
        path = _model_path(index)
        try:
            deployment, found, warnings = resolve_entry(entry, common)
        except ValueError as error:
            problems.append(_problem(index, entry, error, place))
            continue
        problems.extend(
            Problem(place(path), warning, path=dotted(path), severity=Severity.WARNING) for warning in warnings
        )
        if deployment.id in by_id and entry.model_info.id is None:
            # Two entries that are the same to the letter share the traffic as two: their ids must differ.
            deployment = replace(deployment, id=f"{deployment.id}-{index}")
        by_id[deployment.id] = entry
        known[deployment.id] = found
        deployments.append(deployment)
    return Built(
        deployments=tuple(_weighted(deployments, entries_of=by_id)),
        known=known,
        problems=tuple(problems),
        secrets=_secrets(deployments),
        expand=_expander(by_id, common),
    )


def misdirected(entries: Mapping[int, ModelEntry], common: Common, place: Callable[[Path], Place]) -> list[Problem]:
    """What `build` would report of these entries, by their index: for a file that has other errors as well."""
    problems = []
    for index, entry in entries.items():
        try:
            resolve_entry(entry, common)
        except ValueError as error:
            problems.append(_problem(index, entry, error, place))
    return problems


def _model_path(index: int) -> Path:
    return ("model_list", index, "litellm_params", "model")


def _problem(index: int, entry: ModelEntry, error: ValueError, place: Callable[[Path], Place]) -> Problem:
    """The sentence of an error as message and cure, without the model where a key has come to stand there."""
    path, model = _model_path(index), entry.litellm_params.model
    if isinstance(error, _Slip):
        path = (*path[:-1], error.key)
    text = str(error).replace(model, HIDDEN) if looks_secret(model) else str(error)
    message, _, cure = text.partition("; ")
    message, _, near = message.partition(", did you mean ")
    return Problem(place(path), message, f"did you mean {near} {cure}" if near else cure, dotted(path))


class Resolution(NamedTuple):
    """What one entry of model_list comes to."""

    deployment: Deployment
    known: Mapping[str, Json]  # what the price table says of its model
    warnings: list[str]


def resolve_entry(entry: ModelEntry, common: Common) -> Resolution:
    """One entry's deployment. Raises ValueError with a sentence."""
    params = _merged(entry, common)
    _refuse_slips(params)
    model = params.model
    mocked = params.mock_response is not None
    try:
        resolved = resolve(model, params.custom_llm_provider, params.base is not None, _inferred(common.prices))
    except ValueError:
        if mocked:
            resolved = Resolved("openai", model.partition("/")[2] or model)
        elif model == "*" and "*" in entry.model_name:
            resolved = None
        elif (meant := _meant(model)) is not None:
            raise ValueError(meant) from None
        else:
            raise
    if resolved is None:
        return Resolution(_by_name(entry, params, common), NOTHING, [])
    row = ROWS[resolved.provider]
    warnings = _doubts(params, resolved)
    environ = _variables(entry, params, common)
    backend, base_path = _address(params, row, environ, mocked=mocked)
    key = _key(params, row, backend, environ, warnings, mocked=mocked)
    draft = _draft(entry, params, common, resolved)
    deployment = replace(
        draft,
        backend=_reached(backend, params, common),
        base_path=base_path,
        api_key=key,
        api_version=params.api_version or _first(environ, row.version_env),
        organization=params.organization or (_first(environ, row.organization_env) if _is_own(row, backend) else None),
    )
    known = common.prices.find(deployment.model, deployment.provider, entry.model_info.base_model) or NOTHING
    return Resolution(_with_abilities(deployment, entry, params, row, known, common), known, warnings)


def _variables(entry: ModelEntry, params: ModelParams, common: Common) -> Mapping[str, str]:
    """The variables that an entry may draw on: none where the database names its host, for keys are the machine's."""
    is_stored = entry.model_info.others.get("db_model") is True
    return {} if is_stored and params.base is not None else common.environ


def _inferred(prices: PriceTable) -> Callable[[str], str | None]:
    """Whose model a bare name is: as the price list says, or for a few that it has not."""
    return lambda model: prices.provider_of(model) or _UNPRICED.get(model)


class _Slip(ValueError):
    """What is wrong with another setting than the model."""

    def __init__(self, sentence: str, key: str) -> None:
        super().__init__(sentence)
        self.key = key


def _refuse_slips(params: ModelParams) -> None:
    """What no backend's name of a model has at its ends; and a provider that nobody knows, which counts for nothing."""
    provider, model = params.custom_llm_provider, params.model
    name = model.partition("/")[2] or model
    if model != model.strip() or name != name.strip():
        raise ValueError(f'the model "{model}" has a blank before or after a name; take it out')
    if name and name[-1] in ",;\"'":
        raise ValueError(f'the model "{model}" ends in {name[-1]}; take it out')
    if provider is not None and not is_known(provider):
        near = did_you_mean(provider, ROWS)
        cure = f'did you mean "{near}"?' if near else "write openai for an OpenAI-compatible server, and its api_base"
        raise _Slip(f'no provider is called "{provider}"; {cure}', "custom_llm_provider")


def _meant(model: str) -> str | None:
    """A sentence for a model without a provider whose slip can be told."""
    if model.lower().startswith(("http:", "https:")):
        return f'the model "{model}" is an address; write it as api_base, and the model\'s name as model: openai/<name>'
    prefix, mark, name = model.partition(":") if ":" in model else model.partition("\\")
    if mark and name and is_known(prefix.lower()):
        return f'"{mark}" stands between provider and model in "{model}"; write {prefix.lower()}/{name}'
    if is_known(model):
        return f'"{model}" is a provider and names no model; write {model}/<model>'
    return None


def _doubts(params: ModelParams, resolved: Resolved) -> list[str]:
    provider = params.custom_llm_provider
    if provider is not None and provider != resolved.provider:
        return [f"custom_llm_provider: {provider} is not used: the model begins with {resolved.provider}/"]
    if "${" in params.model:
        return [f"the model is called {params.model} to the letter: only os.environ/NAME names a variable"]
    return []


def _merged(entry: ModelEntry, common: Common) -> ModelParams:
    """The entry's parameters, over its credential's, over the defaults for all."""
    params = entry.litellm_params
    name = params.litellm_credential_name
    if name is not None:
        credential = common.credentials.get(name)
        if credential is None:
            names = ", ".join(repr(each) for each in common.credentials) or "none is configured"
            raise ValueError(f"no entry of credential_list is named {name!r} (there are: {names})")
        params = params.filled(credential.credential_values)
    return params.filled(common.params)


def _draft(entry: ModelEntry, params: ModelParams, common: Common, resolved: Resolved) -> Deployment:
    info = entry.model_info.public()
    headers = {**common.headers, **{name: value.reveal() for name, value in params.all_headers.items()}}
    return Deployment(
        id=entry.model_info.id or _identity(entry, params),
        group=entry.model_name,
        model=resolved.model,
        provider=resolved.provider,
        backend=BY_NAME,
        headers=_headers(headers),
        defaults=params.body_defaults(),
        forced=common.forced,
        drop_params=common.drop_params if params.drop_params is None else params.drop_params,
        additional_drop_params=tuple(params.additional_drop_params),
        allowed_openai_params=frozenset(params.allowed_openai_params),
        add_function_to_prompt=common.add_function_to_prompt,
        forward_client_headers=common.forward_client_headers,
        forward_organization=common.forward_organization,
        mock_response=params.mock_response,
        timeout_s=common.timeout_s if params.timeout is None else params.timeout,
        stream_timeout_s=common.stream_timeout_s if params.stream_timeout is None else params.stream_timeout,
        order=params.order,
        tags=params.tags,
        tag_patterns=params.tag_regex,
        max_parallel=params.max_parallel_requests or common.max_parallel,
        rpm=params.rpm,
        tpm=params.tpm,
        retries=params.retries,
        rest_s=_first_number(params.cooldown_time, entry.model_info.cooldown_time),
        allowed_fails=entry.model_info.allowed_fails,
        allowed_fails_policy=entry.model_info.allowed_fails_policy,
        heartbeat_s=_first_number(params.keepalive_seconds, common.heartbeat_s),
        region=params.cloud.get("region_name"),
        mirror=Mirror(params.mirror.model, params.mirror.percent) if params.mirror else None,
        probed=not entry.model_info.disable_background_health_check,
        mode=entry.model_info.mode,
        info=info,
        params=params.public(),
    )


def _first_number(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _by_name(entry: ModelEntry, params: ModelParams, common: Common) -> Deployment:
    """A deployment whose provider each requested name decides: `model: "*"`."""
    return _draft(entry, params, common, Resolved("*", "*"))


def _address(params: ModelParams, row: Compatible, environ: Mapping[str, str], *, mocked: bool) -> tuple[Backend, str]:
    base = params.base
    if base is None:
        base = _first(environ, row.base_env) or row.base_url
    if base:
        return parse_base(base)
    if mocked:
        return Backend("http", "mock", 80), ""
    variables = f", or set {row.base_env[0]}" if row.base_env else ""
    raise ValueError(f"the provider {row.name!r} has no address of its own; add api_base{variables}")


def _reached(backend: Backend, params: ModelParams, common: Common) -> Backend:
    """The backend by the way that its entry, or the settings for all, say."""
    if params.ssl_keyfile is not None and params.ssl_certificate is None:
        raise _Slip("stands alone; name the certificate it belongs to: ssl_certificate", "ssl_keyfile")
    return msgspec.structs.replace(
        backend,
        # So that all plain backends of an address share their connections, whatever is said of TLS.
        tls=_tls(params, common) if backend.scheme == "https" else USUAL_TLS,
        proxy=_proxy(backend, params, common),
    )


def _proxy(backend: Backend, params: ModelParams, common: Common) -> Proxy | None:
    if params.http_proxy is not None:
        return params.http_proxy if isinstance(params.http_proxy, Proxy) else None
    # By way of a proxy, this machine would be the proxy's.
    return None if is_loopback(backend.host) else common.proxy


def _tls(params: ModelParams, common: Common) -> Tls:
    verify = common.tls.verify if params.ssl_verify is None else params.ssl_verify
    certificate, keyfile = params.ssl_certificate, params.ssl_keyfile
    if certificate is None:
        certificate, keyfile = common.tls.certificate, common.tls.keyfile
    return Tls(common.trusted if verify is True else verify, certificate, keyfile)


def _key(
    params: ModelParams,
    row: Compatible,
    backend: Backend,
    environ: Mapping[str, str],
    warnings: list[str],
    *,
    mocked: bool,
) -> Secret | None:
    if params.api_key is not None or mocked:
        return params.api_key
    name = next((each for each in row.key_env if environ.get(each, "").strip()), None)
    if _is_own(row, backend) or params.base is None:
        if name is None and not row.key_optional:
            variable = f" or set {row.key_env[0]}" if row.key_env else ""
            warnings.append(f"no API key for {backend}: add api_key{variable}; requests go without one")
        return Secret(environ[name].strip()) if name else None
    if name is not None:
        warnings.append(
            f"the key in {name} is not sent to {backend}, which is not {row.name}'s own host; "
            f"write api_key: os.environ/{name} if it is meant for that host"
        )
    return None


def _is_own(row: Compatible, backend: Backend) -> bool:
    """Whether the keys in a provider's variables belong to this host: its own one, or one that only the user knows."""
    return row.needs_base or row.key_optional or parse_base(row.base_url)[0].host == backend.host


def _with_abilities(
    deployment: Deployment,
    entry: ModelEntry,
    params: ModelParams,
    row: Compatible,
    known: Mapping[str, Json],
    common: Common,
) -> Deployment:
    info = entry.model_info.public()
    rates = _rates(deployment, entry, params, known, common)
    refuses = parameters.refused(deployment, info, known, row)
    return replace(
        deployment,
        refuses=refuses,
        takes_tools=parameters.takes_tools(refuses, info, known),
        rates=rates,
        refusal=refusal(deployment.group) if common.needs_price and not rates and not _is_mocked(params) else "",
        window=entry.model_info.max_input_tokens or _window(known),
        mode=deployment.mode or known.get("mode") or _mode_by_name(entry.model_name, common.prices),
    )


def _rates(
    deployment: Deployment, entry: ModelEntry, params: ModelParams, known: Mapping[str, Json], common: Common
) -> Mapping[str, Json]:
    listed = common.prices.priced(known, deployment.model, deployment.provider, entry.model_info.base_model)
    terms = terms_for(deployment.provider, common.discounts, common.margins)
    return rates_of(params.rates, entry.model_info.rates, listed, terms)


def _is_mocked(params: ModelParams) -> bool:
    return params.mock_response is not None


def _window(known: Mapping[str, Json]) -> int | None:
    """How many tokens of a prompt a model takes, as the price list has it."""
    tokens = known.get("max_input_tokens")
    return int(tokens) if isinstance(tokens, int | float) and tokens > 0 else None


def _mode_by_name(name: str, prices: PriceTable) -> str | None:
    """The kind of model that a public name is known for."""
    mode = (prices.find(name) or NOTHING).get("mode")
    return str(mode) if mode in _TOLD_BY_NAME else None


def _identity(entry: ModelEntry, params: ModelParams) -> str:
    """A stable id of a deployment: a digest of what it is; keys count through a digest of their own."""
    key = params.api_key.reveal() if params.api_key else ""
    told = {
        "name": entry.model_name,
        "params": params.public(),
        "key": hashlib.sha256(key.encode()).hexdigest(),
    }
    return hashlib.sha256(msgspec.json.encode(told, order="deterministic", enc_hook=str)).hexdigest()


def _headers(headers: Mapping[str, str]) -> Headers:
    return tuple((name.lower(), header_text(value)) for name, value in headers.items())


def _first(environ: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((value for name in names if (value := environ.get(name, "").strip())), None)


def _weighted(deployments: Sequence[Deployment], *, entries_of: Mapping[str, ModelEntry]) -> list[Deployment]:
    """Give each deployment its share: within a group `weight` if any has one, else `rpm`, else `tpm`, else equal."""
    groups: dict[str, list[Deployment]] = {}
    for each in deployments:
        groups.setdefault(each.group, []).append(each)
    measures = {
        name: next(
            (
                field
                for field in ("weight", "rpm", "tpm")
                if any(_measure(entries_of[each.id], field) for each in group)
            ),
            None,
        )
        for name, group in groups.items()
    }
    weighted = []
    for each in deployments:
        measure = measures[each.group]
        weighted.append(
            each if measure is None else replace(each, weight=float(_measure(entries_of[each.id], measure) or 0))
        )
    return weighted


def _measure(entry: ModelEntry, name: str) -> float | None:
    value: float | None = getattr(entry.litellm_params, name)
    return value


def _secrets(deployments: Sequence[Deployment]) -> tuple[Secret, ...]:
    keys = [each.api_key for each in deployments if each.api_key]
    headers = [pair for each in deployments for pair in each.headers]
    proxies = [each.backend.proxy for each in deployments if each.backend.proxy]
    keys += [each.authorization for each in proxies if each.authorization]
    return (*keys, *(Secret(value) for name, value in headers if _SECRET_HEADER.search(name)))


def _expander(entries: Mapping[str, ModelEntry], common: Common) -> Callable[[Deployment, str], Deployment]:
    def expand(deployment: Deployment, name: str) -> Deployment:
        """A wildcard deployment for one requested name, with that model's own prices and abilities."""
        entry = entries[deployment.id]
        model = captured(entry.model_name, entry.litellm_params.model, name)
        params = entry.litellm_params.model_copy(update={"model": model})
        try:
            concrete = resolve_entry(entry.model_copy(update={"litellm_params": params}), common).deployment
        except ValueError as error:
            raise UnknownModel(f"no provider for the model {name[:100]!r}: {error}", param="model") from None
        return replace(concrete, id=deployment.id, weight=deployment.weight)

    return expand
