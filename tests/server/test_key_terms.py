"""What the settings say of all keys."""

import pytest

from proxy_cli.callers import Period
from proxy_cli.config.environment import Variables
from proxy_cli.config.schema import Config
from proxy_cli.money import NANO
from proxy_cli.server.key_terms import addresses_of, notes_of, terms_of, tokens_of


def config(general=None, litellm=None):
    return Config.model_validate({"general_settings": general or {}, "litellm_settings": litellm or {}})


def test_what_is_not_said_limits_nobody():
    """No budget, no addresses, no tokens, and nothing to be said."""
    plain = config()
    terms = terms_of(plain, None)

    assert (terms.proxy, terms.customer_budget_usd, terms.denied_status, terms.ttl_s) == (None, None, 403, 60)
    assert addresses_of(plain).allowed == ()
    assert tokens_of(plain, Variables(), None, terms) is None
    assert notes_of(plain, Variables()) == ()


def test_the_budget_of_the_proxy_is_a_scope_with_a_period():
    """In the time zone of all budgets."""
    said = config(litellm={"budget_duration": "30d", "timezone": "Europe/Berlin"})

    proxy = terms_of(said, 2.5).proxy

    assert proxy is not None
    assert (proxy.kind, proxy.id, proxy.max_nano) == ("proxy", "", NANO * 5 // 2)
    assert proxy.period == Period(text="30d", zone="Europe/Berlin")


def test_the_settings_of_keys_become_terms():
    """Each by its name."""
    terms = terms_of(
        config(
            {
                "user_api_key_cache_ttl": 5,
                "user_api_key_cache_max_size": 7,
                "apply_user_budget_to_team_keys": True,
                "model_denied_status_code": 401,
                "user_header_name": "X-Shop-User",
                "user_header_mappings": [
                    {"header_name": "X-OpenWebUI-User-Email", "litellm_user_role": "customer"},
                    {"header_name": "X-Staff", "litellm_user_role": "internal_user"},
                ],
            },
            {"max_end_user_budget": 1, "max_end_user_budget_id": "usual"},
        ),
        None,
    )

    assert (terms.ttl_s, terms.most_known, terms.user_budget_holds_for_teams) == (5, 7, True)
    assert (terms.denied_status, terms.customer_headers) == (401, ("x-shop-user", "x-openwebui-user-email"))
    assert (terms.customer_budget_usd, terms.customer_budget_id) == (1, "usual")


@pytest.mark.parametrize(
    ("general", "variables", "said"),
    [
        ({"use_x_forwarded_for": True}, Variables(), "trusted_proxy_ranges"),
        ({"enable_jwt_auth": True}, Variables(), "JWT_PUBLIC_KEY_URL"),
        ({"enable_jwt_auth": True}, Variables(jwt_public_key_url="keys.json"), "JWT_AUDIENCE"),
    ],
)
def test_a_setting_that_has_no_effect_alone_is_told(general, variables, said):
    """With what it lacks."""
    (note,) = notes_of(config(general), variables)

    assert said in note


def test_proxies_in_front_are_believed_only_where_both_settings_say_so():
    """One names them, the other has them looked at."""
    ranges = {"trusted_proxy_ranges": ["10.0.0.0/8"]}

    assert addresses_of(config(ranges)).trusted == ()
    assert addresses_of(config({**ranges, "use_x_forwarded_for": True})).trusted == ("10.0.0.0/8",)


def test_tokens_are_read_by_the_claims_that_were_set():
    """Where there are keys to check them with."""
    said = config({"enable_jwt_auth": True, "litellm_jwtauth": {"team_id_jwt_field": "team"}})

    assert tokens_of(said, Variables(jwt_public_key_url="a.json, b.json"), None, terms_of(said, None)) is not None
    assert tokens_of(said, Variables(), None, terms_of(said, None)) is None
