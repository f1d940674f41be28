"""What the settings say of all keys, as `access/` wants it."""

from collections.abc import Mapping
from importlib.util import find_spec

from proxy_cli.access.addresses import Addresses
from proxy_cli.access.grants import Terms
from proxy_cli.access.jwt import Jwt, JwtTerms
from proxy_cli.access.key_sets import KeySets
from proxy_cli.callers import Period, Scope
from proxy_cli.config.environment import Variables
from proxy_cli.config.schema import Config
from proxy_cli.money import nano_of
from proxy_cli.shapes import Json
from proxy_cli.store.base import Store


def terms_of(config: Config, max_budget_usd: float | None) -> Terms:
    """The terms of keys; the budget of the whole proxy is one of them."""
    general, litellm = config.general_settings, config.litellm_settings
    zone = litellm.timezone or "UTC"
    usual = Terms()
    return Terms(
        proxy=None if max_budget_usd is None else _proxy(max_budget_usd, litellm.budget_duration, zone),
        user_budget_holds_for_teams=bool(general.apply_user_budget_to_team_keys),
        zone=zone,
        customer_budget_usd=litellm.max_end_user_budget,
        customer_budget_id=litellm.max_end_user_budget_id or "",
        customer_headers=_customer_headers(config),
        ttl_s=general.user_api_key_cache_ttl or usual.ttl_s,
        most_known=general.user_api_key_cache_max_size or usual.most_known,
        denied_status=general.model_denied_status_code or usual.denied_status,
    )


def addresses_of(config: Config) -> Addresses:
    """Who may call by address, and which proxies are believed."""
    general = config.general_settings
    trusted = tuple(general.trusted_proxy_ranges or ()) if general.use_x_forwarded_for else ()
    return Addresses(allowed=tuple(general.allowed_ips or ()), trusted=trusted)


def tokens_of(config: Config, variables: Variables, store: Store | None, terms: Terms) -> Jwt | None:
    """What reads tokens of somebody else's, where they are accepted."""
    general = config.general_settings
    if not general.enable_jwt_auth or not variables.jwt_public_key_url:
        return None
    said = general.litellm_jwtauth
    claims = JwtTerms(**{name: getattr(said, name) for name in JwtTerms.__struct_fields__})
    sources = [each.strip() for each in variables.jwt_public_key_url.split(",") if each.strip()]
    sets = KeySets(sources, ttl_s=claims.public_key_ttl, stale_s=claims.public_key_stale_ttl)
    return Jwt(claims, sets, audience=variables.jwt_audience, issuer=variables.jwt_issuer, store=store, keys=terms)


def notes_of(config: Config, variables: Variables) -> tuple[str, ...]:
    """What is to be said of settings that alone have no effect."""
    general = config.general_settings
    notes = []
    if general.use_x_forwarded_for and not general.trusted_proxy_ranges:
        notes.append(
            "use_x_forwarded_for has no effect: set general_settings.trusted_proxy_ranges to the addresses of the "
            "proxies in front, for nobody else is believed"
        )
    if general.enable_jwt_auth and not variables.jwt_public_key_url:
        notes.append("enable_jwt_auth has no effect: set JWT_PUBLIC_KEY_URL to the file or address of the keys")
    if general.enable_jwt_auth and find_spec("jwt") is None:
        notes.append("enable_jwt_auth: tokens cannot be read; run pip install 'llmproxy[jwt]'")
    if general.enable_jwt_auth and variables.jwt_public_key_url and not variables.jwt_audience:
        notes.append("tokens for anybody are accepted: set JWT_AUDIENCE to the audience that is this proxy's")
    notes += [
        f"user_header_mappings[{number}] has no effect: write header_name and litellm_user_role: customer; "
        "the internal user is always the one whom the key belongs to"
        for number, name in enumerate(_mapped_headers(config))
        if not name
    ]
    return tuple(notes)


def _customer_headers(config: Config) -> tuple[str, ...]:
    """The headers in which an end user may be named, the one of the older setting first."""
    named = (config.general_settings.user_header_name or "").lower()
    return tuple(name for name in (named, *_mapped_headers(config)) if name)


def _mapped_headers(config: Config) -> list[str]:
    """The header that each mapping gives end users; empty for one that gives none."""
    mappings = config.general_settings.user_header_mappings
    listed = mappings if isinstance(mappings, list | tuple) else [mappings] if mappings else []
    return [_mapped_header(each) for each in listed]


def _mapped_header(mapping: Json) -> str:
    if not isinstance(mapping, Mapping) or str(mapping.get("litellm_user_role")).lower() != "customer":
        return ""
    return str(mapping.get("header_name") or "").lower()


def _proxy(usd: float, duration: str | None, zone: str) -> Scope:
    period = None if duration is None else Period(text=duration, zone=zone)
    return Scope(kind="proxy", id="", name="the proxy", max_nano=nano_of(usd), period=period)
