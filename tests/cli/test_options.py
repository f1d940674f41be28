"""The table of options: nothing is accepted and left unused, variables stand for options, flags carry them down."""

import dataclasses
import re

import click
import pytest

from proxy_cli.cli.options import OPTIONS, flags_from, unused, with_variables
from proxy_cli.config.environment import Variables
from proxy_cli.config.flags import Flags

BY_NAME = {option.name: option for option in OPTIONS}


def test_options_are_those_of_the_seed_and_of_litellm(root):
    """Every option of both eras is in the table."""
    seed = (
        "host port num_workers api_base api_version model alias add_key headers save debug detailed_debug use_queue "
        "temperature max_tokens request_timeout drop_params add_function_to_prompt config max_budget telemetry health "
        "test test_async num_requests run_gunicorn ssl_keyfile_path ssl_certfile_path local"
    )
    today = (
        "granian_threads log_config setup iam_token_db_auth azure_postgresql_auth run_hypercorn run_granian ciphers "
        "use_prisma_db_push use_v2_migration_resolver use_legacy_migration_resolver enforce_prisma_migration_check "
        "skip_server_startup validate_config keepalive_timeout timeout_worker_healthcheck max_requests_before_restart "
        "max_requests_before_restart_jitter limit_concurrency reload prometheus_metrics_port"
    )

    assert set(f"{seed} {today}".split()) <= set(BY_NAME)


def test_options_that_do_nothing_say_so_in_one_line_each():
    """The line names the option, why, and what to do."""
    given = {option.name: True for option in OPTIONS if option.unused}

    lines = list(unused(given))

    assert len(lines) == len(given) == 13
    assert all(re.fullmatch(r"--\w+ does nothing: [^\n]+", line) for line in lines)


def test_options_that_were_not_given_are_not_mentioned():
    """A start without them is quiet."""
    assert list(unused({option.name: None for option in OPTIONS})) == []


def test_variables_stand_for_options():
    """Every variable of the table has its field in what the environment was read into."""
    said = Variables(port=8080, num_workers=2, request_timeout_s=1.5, keepalive_timeout_s=3.0, debug=True)

    filled = with_variables({}, said)

    assert filled == {"port": 8080, "num_workers": 2, "request_timeout": 1.5, "keepalive_timeout": 3.0, "debug": True}


def test_variables_of_serving_options_are_all_read():
    """An option that names a variable is filled from it."""
    read = {field.name for field in dataclasses.fields(Variables)}
    named = [option.name for option in OPTIONS if option.variable and option.section != "LiteLLM's"]

    assert not [name for name in named if not {name, f"{name}_s"} & read]


def test_variables_yield_to_the_command_line():
    """Flag over variable; --local is about the address as well."""
    assert with_variables({"port": 1234}, Variables(port=8080)) == {"port": 1234}
    assert with_variables({"local": True}, Variables(host="0.0.0.0")) == {"local": True}


def test_variables_that_say_no_to_a_switch_say_nothing():
    """`DEBUG=false` is the default."""
    assert with_variables({}, Variables(debug=False)) == {}


def test_variables_log_level_debug_means_debug():
    """As LiteLLM reads LITELLM_LOG; what was asked for in more detail stays."""
    assert with_variables({}, Variables(log_level="DEBUG")) == {"debug": True}
    assert with_variables({"detailed_debug": True}, Variables(log_level="DEBUG")) == {"detailed_debug": True}
    assert with_variables({}, Variables(log_level="INFO")) == {}


def test_variables_keep_to_the_bounds_of_their_options():
    """What the option refuses, its variable does not bring in."""
    with pytest.raises(click.UsageError, match=r"^NUM_WORKERS: '5000' is not a whole number from 1 to 256$"):
        with_variables({}, Variables(num_workers=5000))


def test_flags_carry_every_serving_option_down():
    """No option of a serving kind is read and then forgotten."""
    values = {
        "config": "c.yaml", "host": "::1", "port": 1, "num_workers": 2, "keepalive_timeout": 3, "limit_concurrency": 4,
        "max_requests_before_restart": 5, "max_requests_before_restart_jitter": 6, "run_gunicorn": True,
        "ssl_keyfile_path": "k", "ssl_certfile_path": "c", "model": "openai/m", "alias": "m", "api_base": "http://a",
        "api_version": "1", "headers": {"a": "b"}, "temperature": 0.5, "max_tokens": 7, "request_timeout": 8,
        "drop_params": True, "add_function_to_prompt": True, "max_budget": 9, "debug": True, "detailed_debug": True,
        "local": True, "reload": True,
    }  # fmt: skip

    flags, names = flags_from(values), [field.name for field in dataclasses.fields(Flags)]

    assert not [name for name in names if getattr(flags, name) == getattr(Flags(), name)]
    assert len(values) == len(names)


def test_flags_of_an_empty_line_are_the_defaults():
    """Nothing said, nothing decided."""
    assert flags_from({}) == Flags()
