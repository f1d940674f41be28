"""What the settings say of all keys, as `access/` wants it."""

from proxy_cli.access.addresses import Addresses
from proxy_cli.access.grants import Terms
from proxy_cli.callers import Period, Scope
from proxy_cli.config.schema import Config
from proxy_cli.money import nano_of


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
        customer_headers=(general.user_header_name.lower(),) if general.user_header_name else (),
        ttl_s=general.user_api_key_cache_ttl or usual.ttl_s,
        most_known=general.user_api_key_cache_max_size or usual.most_known,
        denied_status=general.model_denied_status_code or usual.denied_status,
    )


def addresses_of(config: Config) -> Addresses:
    """Who may call by address, and which proxies are believed."""
    general = config.general_settings
    trusted = tuple(general.trusted_proxy_ranges or ()) if general.use_x_forwarded_for else ()
    return Addresses(allowed=tuple(general.allowed_ips or ()), trusted=trusted)


def _proxy(usd: float, duration: str | None, zone: str) -> Scope:
    period = None if duration is None else Period(text=duration, zone=zone)
    return Scope(kind="proxy", id="", name="the proxy", max_nano=nano_of(usd), period=period)
