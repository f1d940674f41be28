"""The variables that settings come from."""

import dataclasses

import pytest

from proxy_cli.config.environment import READERS, Variables, read_environment, twins
from proxy_cli.config.problem import Severity
from proxy_cli.config.variable_table import TABLE, Kind
from proxy_cli.secret import Secret


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("LITELLM_MASTER_KEY", "sk-x", "master_key", Secret("sk-x")),
        ("LLMPROXY_MASTER_KEY", " sk-x\n", "master_key", Secret("sk-x")),
        ("PORT", "10080", "port", 10080),
        ("LLMPROXY_PORT", "10080", "port", 10080),
        ("HOST", "127.0.0.1", "host", "127.0.0.1"),
        ("NUM_WORKERS", "2", "num_workers", 2),
        ("WORKERS", "2", "num_workers", 2),
        ("DETAILED_DEBUG", "True", "detailed_debug", True),
        ("LITELLM_LOG", "debug", "log_level", "DEBUG"),
        ("LITELLM_DROP_PARAMS", "0", "drop_params", False),
        ("REQUEST_TIMEOUT", "1.5", "request_timeout_s", 1.5),
        ("SSL_VERIFY", "False", "ssl_verify", False),
        ("SSL_VERIFY", "/ca.pem", "ssl_verify", "/ca.pem"),
        ("SERVER_ROOT_PATH", "/llm/", "server_root_path", "/llm"),
        ("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true", "permit_weak_master_key", True),
    ],
)
def test_a_variable_has_its_value(name, text, field, value):
    """Typed, by either of its names."""
    variables, problems = read_environment({name: text})

    assert problems == []
    assert getattr(variables, field) == value
    assert [(state.name, state.state) for state in variables.states] == [(name, "used")]


@pytest.mark.row("C-55")
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("PORT", "abc", "PORT in .env: expected a whole number from 1 to 65535, got 'abc'"),
        ("PORT", "70000", "PORT in .env: expected a whole number from 1 to 65535, got 70000"),
        ("WORKERS", "-1", "WORKERS in .env: expected a whole number of at least 1, got -1"),
        ("LLMPROXY_NUM_WORKERS", "0", "LLMPROXY_NUM_WORKERS in .env: expected a whole number of at least 1, got 0"),
        ("DEBUG", "maybe", "DEBUG in .env: expected true or false, got 'maybe'"),
        ("LITELLM_LOG", "LOUD", "LITELLM_LOG in .env: expected one of DEBUG, INFO"),
        ("REQUEST_TIMEOUT", "inf", "REQUEST_TIMEOUT in .env: expected a number of seconds above 0, got 'inf'"),
        ("REQUEST_TIMEOUT", "0", "REQUEST_TIMEOUT in .env: expected a number of seconds above 0, got 0"),
        ("SERVER_ROOT_PATH", "llm", "SERVER_ROOT_PATH in .env: expected a path such as /llm, got 'llm'"),
        ("LITELLM_MASTER_KEY", "a\nb", "LITELLM_MASTER_KEY in .env: the key holds a line break"),
        ("LLMPROXY_MASTR_KEY", "x", "LLMPROXY_MASTR_KEY in .env: no such variable - did you mean LLMPROXY_MASTER_KEY?"),
    ],
)
def test_a_bad_value_names_the_variable_and_its_source(name, text, said):
    """So that one knows where to look."""
    _, problems = read_environment({name: text}, {name: ".env"})

    assert [each.severity for each in problems] == [Severity.ERROR]
    assert said in str(problems[0])


def test_ours_wins_over_litellms_and_that_is_noted():
    """Only where they differ."""
    variables, problems = read_environment({"LITELLM_LOG": "INFO", "LLMPROXY_LOG": "DEBUG"})
    _, quiet = read_environment({"LITELLM_LOG": "INFO", "LLMPROXY_LOG": "INFO"})

    assert variables.log_level == "DEBUG"
    assert [each.severity for each in problems] == [Severity.NOTE]
    assert quiet == []


def test_what_is_set_and_not_used_is_reported():
    """With the reason; a switch that is off asks for nothing."""
    _, problems = read_environment({"REDIS_URL": "redis://u:hunter22@h/1", "NO_REDOC": "false"})

    assert [str(each) for each in problems] == [
        "warning: REDIS_URL in the environment: known, not yet supported - nothing is shared between instances yet"
    ]


def test_what_kubernetes_sets_for_a_service_of_our_name_is_passed_over():
    """`LLMPROXY_PORT=tcp://...` is no port of ours."""
    environ = {
        "LLMPROXY_PORT": "tcp://10.0.0.1:4000",
        "LLMPROXY_SERVICE_HOST": "10.0.0.1",
        "LLMPROXY_SERVICE_PORT_HTTP": "4000",
        "LLMPROXY_PORT_4000_TCP_ADDR": "10.0.0.1",
        "PORT": "10080",
    }

    variables, problems = read_environment(environ)

    assert problems == []
    assert variables.port == 10080


def test_an_unknown_name_of_ours_is_warned_of():
    """It does nothing, and that should not be found out later."""
    _, problems = read_environment({"LLMPROXY_WEATHER": "sunny"})

    assert [(each.severity, each.name) for each in problems] == [(Severity.WARNING, "LLMPROXY_WEATHER")]


def test_blank_variables_count_as_unset():
    """As shells and compose files leave them."""
    variables, problems = read_environment({"PORT": " ", "LITELLM_MASTER_KEY": ""})

    assert problems == []
    assert variables == Variables()


def test_no_secret_is_ever_shown():
    """Not in the values, the states or the problems."""
    read = read_environment({"LITELLM_MASTER_KEY": "sk-hunter22", "REDIS_PASSWORD": "hunter22", "PORT": "sk-hunter22"})

    assert "hunter22" not in repr(read)


def test_every_variable_has_a_reader_a_twin_and_a_field():
    """The table and the result fit together."""
    fields = {field.name for field in dataclasses.fields(Variables)}

    assert set(READERS) == set(Kind)
    assert {variable.field for variable in TABLE if variable.field} == fields - {"states"}
    assert all(twins(variable.name)[0].startswith("LLMPROXY_") for variable in TABLE)
