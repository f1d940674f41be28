from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy_cli.config.flags import Flags
from proxy_cli.prices.kept import take
from proxy_cli.routing.fleet import Operator
from proxy_cli.routing.neighbours import Neighbours
from proxy_cli.server.setup import prepare
from proxy_cli.shapes import Operation

MODEL = """
model_list:
  - model_name: a
    litellm_params: {model: openai/m, api_base: "http://localhost:20080/v1"}
"""


def prepared(tmp_path: Path, text: str, environ=None, **flags):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    flags.setdefault("host", "127.0.0.1")
    return prepare(Flags(config=path, **flags), environ or {})


def test_all_that_is_wrong_is_said_in_one_go(tmp_path):
    """The file's problems, the deployments', the variables'."""
    text = MODEL + "  - model_name: b\n    litellm_params: {model: openai/m, api_bse: x}\ngeneral_setings: {}\n"

    result = prepared(tmp_path, text, {"LITELLM_LOG": "loud"})

    told = "\n".join([*map(str, result.problems), *result.sentences])
    assert result.setup is None
    assert all(words in told for words in ("api_base", "general_settings", "LITELLM_LOG"))


@pytest.mark.parametrize(
    "slip", ["router_settings: {routing_strategy: simple-shufle}", "credential_list: [{credential_nam: x}]"]
)
def test_an_entry_that_leads_nowhere_is_said_beside_a_slip_of_another_section(tmp_path, slip):
    """One run names both."""
    result = prepared(tmp_path, f"{MODEL}  - {{model_name: b, litellm_params: {{model: nobodys}}}}\n{slip}\n")

    told = "\n".join(map(str, result.problems))
    assert "'nobodys'" in told or '"nobodys"' in told
    assert "did you mean" in told


def test_what_entries_may_have_from_shared_parameters_is_not_missed(tmp_path):
    """Beside another slip, an entry with its address from `default_litellm_params` is not called lost."""
    shared = "router_settings: {default_litellm_params: {api_base: 'http://localhost:1/v1'}, num_retrys: 1}\n"

    result = prepared(tmp_path, f"{MODEL}  - {{model_name: b, litellm_params: {{model: nobodys}}}}\n{shared}")

    assert len(result.problems) == 1


def test_an_entry_that_leads_nowhere_is_said_beside_the_slips_of_others(tmp_path):
    """Also where the file is no configuration yet; entries with slips of their own wait."""
    entries = "  - {model_name: b, litellm_params: {model: nobodys}}\n  - {model_name: c, litellm_params: {modle: x}}\n"

    result = prepared(tmp_path, MODEL + entries)

    assert [problem.place.line for problem in result.problems] == [5, 6]
    assert "belongs to no provider" in result.problems[0].message


def test_a_weak_key_of_the_file_has_its_place_and_a_cure_that_works(tmp_path):
    """The variable alone would not replace what the file says."""
    text = MODEL + "general_settings:\n  master_key: sk-1234\n"

    (problem,) = prepared(tmp_path, text, {"LITELLM_MASTER_KEY": "sk-5f0e8cdd0b5c4c3a9f52"}, host="0.0.0.0").problems

    assert (problem.place.line, problem.place.column, problem.path) == (6, 15, "general_settings.master_key")
    assert problem.cure.startswith("write master_key: os.environ/LITELLM_MASTER_KEY, and make one: ")
    cured = text.replace("sk-1234", "os.environ/LITELLM_MASTER_KEY")
    assert prepared(tmp_path, cured, {"LITELLM_MASTER_KEY": "sk-5f0e8cdd0b5c4c3a9f52"}, host="0.0.0.0").setup


@pytest.mark.row("C-56")
@pytest.mark.parametrize(
    ("host", "key", "permit", "serves", "said"),
    [
        ("0.0.0.0", None, False, True, True),
        ("127.0.0.1", None, False, True, False),
        ("0.0.0.0", "sk-1234", False, False, True),
        ("127.0.0.1", "sk-1234", False, True, False),
        ("0.0.0.0", "sk-2", False, False, True),
        ("0.0.0.0", "sk-1234", True, True, True),
        ("0.0.0.0", "sk-8f2b9c0d7e6a5b4c3d2e", False, True, False),
    ],
)
def test_a_weak_master_key_is_refused_where_others_can_reach_it(tmp_path, host, key, permit, serves, said):
    """No key serves with one warning off loopback; a weak one is refused there, with a command that makes one."""
    environ = {"LITELLM_MASTER_KEY": key} if key else {}
    if permit:
        environ["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"

    result = prepared(tmp_path, MODEL, environ, host=host)

    notes = result.setup.notes if result.setup else ()
    sentences = [*result.sentences, *(each for each in notes if "TLS" not in each)]
    assert (result.setup is not None) is serves
    assert bool(sentences) is said
    assert "sk-1234" not in str(sentences)
    if not serves:
        assert "openssl rand" in sentences[0]


def test_the_variables_that_a_file_sets_count(tmp_path):
    """environment_variables are as if set outside."""
    text = MODEL + "environment_variables: {LITELLM_MASTER_KEY: sk-0123456789-from-file}\n"

    result = prepared(tmp_path, text)

    assert result.setup is not None
    assert result.setup.keys.required


def test_the_flag_wins_over_variable_and_file(tmp_path):
    """For the one setting that all three have."""
    text = MODEL + "litellm_settings: {request_timeout: 3}\n"

    (deployment,) = prepared(tmp_path, text, {"REQUEST_TIMEOUT": "5"}, request_timeout_s=2).setup.table.deployments

    assert deployment.timeout_s == 2


def test_models_that_hold_for_every_request_of_a_kind(tmp_path):
    """general_settings.completion_model and its like."""
    text = MODEL + "general_settings: {completion_model: a, embedding_model: a}\n"

    limits = prepared(tmp_path, text).setup.limits

    assert limits.models == {Operation.CHAT: "a", Operation.COMPLETIONS: "a", Operation.EMBEDDINGS: "a"}


def test_an_unpriced_model_under_a_budget_is_named(tmp_path):
    """A budget that cannot count says so."""
    notes = prepared(tmp_path, MODEL, max_budget_usd=1.0).setup.notes

    assert any("'a'" in note or ": a;" in note for note in notes)


def test_a_ca_bundle_that_is_not_there_is_said_before_the_first_request(tmp_path):
    """SSL_CERT_FILE that leads nowhere."""
    result = prepared(tmp_path, MODEL, {"SSL_CERT_FILE": "/no/such/bundle.pem"})

    assert result.setup is None
    assert "/no/such/bundle.pem" in result.sentences[0]


def test_an_alias_from_the_command_line_names_the_first_model(tmp_path):
    """--alias with a file."""
    setup = prepared(tmp_path, MODEL, alias="friendly").setup

    assert setup.table.find("friendly")[0].group == "a"


def test_what_the_file_says_of_routing_becomes_the_rules(tmp_path):
    """With the deadline of all calls as the longest wait for a turn."""
    text = MODEL + "router_settings: {num_retries: 1, timeout: 30, default_max_parallel_requests: 4}\n"

    setup = prepared(tmp_path, text).setup

    assert (setup.rules.retries, setup.rules.max_wait_s) == (1, 30)
    assert [each.max_parallel for each in setup.table.deployments] == [4]


def test_longer_models_that_are_not_served_are_left_out(tmp_path):
    """LiteLLM's own dictionary may hold models of others."""
    text = MODEL + "litellm_settings: {context_window_fallback_dict: {a: nobody, b: a}}\n"

    result = prepared(tmp_path, text)

    assert list(result.setup.rules.context_window_fallbacks) == ["b"]
    assert [problem.path for problem in result.problems] == [
        "litellm_settings.context_window_fallback_dict.a",
        "litellm_settings.context_window_fallback_dict.b",
    ]


def test_signs_of_life_may_be_set_by_litellms_name(tmp_path):
    """Our own setting wins where it is written."""
    litellm = MODEL + "litellm_settings: {sse_keepalive_ping_interval_seconds: 7}\n"

    def heartbeats(text):
        return [each.heartbeat_s for each in prepared(tmp_path, text).setup.table.deployments]

    assert heartbeats(litellm) == [7]
    assert heartbeats(litellm + "general_settings: {stream_keepalive_seconds: 15}\n") == [None]
    assert heartbeats(MODEL) == [None]


def test_what_callers_may_set_is_the_operators_word(tmp_path):
    """Failures that are played are permitted, and tags are refused, where it is written so."""
    given = "{dangerously_allow_mock_testing_request_params: true, reject_clientside_metadata_tags: true}"
    text = f"{MODEL}general_settings: {given}\n"

    limits, usual = prepared(tmp_path, text).setup.limits, prepared(tmp_path, MODEL).setup.limits

    assert "mock_testing_fallbacks" in limits.permitted
    assert limits.refuses_tags
    assert (usual.permitted, usual.refuses_tags) == (frozenset(), False)


@pytest.mark.row("C-44")
def test_a_mirror_or_fallback_of_nobody_is_an_error_with_the_near_name(tmp_path):
    """In an entry as in the settings."""
    text = """
model_list:
  - model_name: chat
    litellm_params: {model: openai/m, api_base: "http://localhost:20080/v1", mirror: {model: chta, percent: 5}}
router_settings: {content_policy_fallbacks: [{chat: [cht]}]}
"""

    result = prepared(tmp_path, text)

    assert result.setup is None
    assert [problem.cure for problem in result.problems] == ["did you mean 'chat'?"] * 2


@pytest.mark.row("C-47")
def test_aliases_that_lead_in_a_circle_are_an_error(tmp_path):
    """No call would ever come out of it."""
    text = MODEL + "router_settings: {model_group_alias: {x: y, y: x}}\n"

    result = prepared(tmp_path, text)

    assert result.setup is None
    assert "x -> y -> x" in result.problems[0].message


@pytest.mark.parametrize("count", [1, 1000])
def test_workers_share_memory_for_every_deployment_and_as_many_that_a_reload_brings(tmp_path, count):
    """What one worker learns of a deployment, or is told by its operator, all must hear, however many there are."""
    entry = "  - {model_name: a%d, litellm_params: {model: openai/m, api_base: 'http://localhost:20080/v1'}}\n"
    text = "model_list:\n" + "".join(entry % number for number in range(count))

    setup = prepared(tmp_path, text, num_workers=2).setup

    assert setup is not None
    assert setup.board is not None
    neighbours = Neighbours(setup.board)
    ids = [each.id for each in setup.table.deployments]
    for identity in [*ids, *(each[::-1] for each in ids)]:
        setup.fleet.set_operator(identity, Operator.ACTIVE, None)
        assert neighbours.own(identity) is not None
    rows = {labels[0] for slot in range(2) for kind in (1, 7001) for labels, _ in setup.board.places(slot, kind)}
    assert len(rows) == 2 * count


def test_prices_that_were_taken_from_a_file_are_used_and_told(tmp_path):
    """Where they come from, and since when."""
    source = tmp_path / "list.json"
    source.write_text('{"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 1e-06}}')
    take(source, tmp_path / "data", datetime(2026, 1, 2, tzinfo=UTC))
    text = "model_list: [{model_name: a, litellm_params: {model: openai/gpt-4o, api_key: k}}]\n"

    setup = prepared(tmp_path, text, {"LLMPROXY_DATA_DIR": str(tmp_path / "data")}).setup

    assert setup is not None
    assert setup.table.deployments[0].rates == {"input_cost_per_token": 1e-06}
    assert "prices of 1 models are those of list.json, taken on 2026-01-02" in setup.notes


@pytest.mark.row("C-64")
@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ("general_settings: {unpriced: deny}", True),
        (
            "general_settings: {unpriced: allow}\nlitellm_settings: {block_requests_for_models_without_pricing: true}",
            False,
        ),
        ("litellm_settings: {block_requests_for_models_without_pricing: true}", True),
        ("", False),
    ],
)
def test_models_without_a_price_are_refused_where_the_file_says_so(tmp_path, settings, refused):
    """In our words, or in LiteLLM's."""
    setup = prepared(tmp_path, f"{MODEL}{settings}\n").setup

    assert setup is not None
    assert bool(setup.table.deployments[0].refusal) is refused


@pytest.mark.row("B-19")
@pytest.mark.parametrize("price", ["-1.0e-6", ".nan", ".inf", "'-1'", "dear", "true"])
@pytest.mark.parametrize("name", ["input_cost_per_token", "gpu_hour_cost"])
def test_a_price_that_is_none_is_refused_with_its_place(tmp_path, name, price):
    """File, line and column; nothing is served at such a price."""
    text = f"model_list:\n  - model_name: a\n    litellm_params:\n      model: openai/gpt-4o\n      {name}: {price}\n"

    result = prepared(tmp_path, text)

    assert result.setup is None
    assert [(each.place.line, name in str(each)) for each in result.problems if each.place.line == 5] == [(5, True)]


def test_nothing_is_kept_without_a_master_key(tmp_path):
    """Whoever came first could hand out keys that stay good; that a database is named for nothing is told."""
    found = prepared(tmp_path, f"{MODEL}general_settings: {{database_url: 'sqlite:////tmp/none.db'}}\n").setup

    assert found is not None
    assert found.storing is None
    assert any("the database is not used" in note for note in found.notes)
