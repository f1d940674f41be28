"""What the settings say of all keys."""

from proxy_cli.callers import Period
from proxy_cli.config.schema import Config
from proxy_cli.server.key_terms import addresses_of, terms_of


def test_the_budget_of_the_whole_proxy_is_a_scope():
    """With its period, in the time zone that is set."""
    config = Config.model_validate({"litellm_settings": {"budget_duration": "30d", "timezone": "Asia/Tokyo"}})

    proxy = terms_of(config, 2.5).proxy

    assert proxy is not None
    assert (proxy.max_nano, proxy.period) == (2_500_000_000, Period("30d", "Asia/Tokyo"))
    assert terms_of(config, None).proxy is None


def test_end_users_have_the_budget_that_is_set():
    """In money, or by the name of one."""
    config = Config.model_validate({"litellm_settings": {"max_end_user_budget": 3, "max_end_user_budget_id": "b"}})

    terms = terms_of(config, None)

    assert (terms.customer_budget_usd, terms.customer_budget_id) == (3.0, "b")


def test_headers_are_believed_where_the_settings_say_so():
    """Proxies alone change nothing."""
    general = {"allowed_ips": ["10.0.0.0/8"], "trusted_proxy_ranges": ["127.0.0.1"]}

    closed = addresses_of(Config.model_validate({"general_settings": general}))
    open_ = addresses_of(Config.model_validate({"general_settings": {**general, "use_x_forwarded_for": True}}))

    assert (closed.allowed, closed.trusted) == (("10.0.0.0/8",), ())
    assert open_.trusted == ("127.0.0.1",)
