"""The rows of the catalogue about values and names: each broken file is answered with its place and its cure."""

import textwrap
from itertools import pairwise

import pytest

from proxy_cli.config.load import load
from proxy_cli.config.problem import Severity

ENTRY = "model_list:\n  - model_name: fast\n    litellm_params:\n      model: openai/fast\n"
SECRET = "sk-Zx81bQ0mTt5vKp93LwYd"


@pytest.fixture
def check(tmp_path):
    """Load a text as a file; the problems as lines without the folder."""

    def run(text: str, environ: dict[str, str] | None = None):
        file = tmp_path / "config.yaml"
        file.write_text(textwrap.dedent(text), "utf-8")
        file.chmod(0o600)
        loaded = load(file, environ or {})
        lines = [str(each).replace(f"{tmp_path}/", "") for each in loaded.problems]
        assert (loaded.config is None) == any(each.severity is Severity.ERROR for each in loaded.problems)
        return loaded, lines

    return run


def params(text: str) -> str:
    """A file with one entry that has these parameters too."""
    return ENTRY + textwrap.indent(textwrap.dedent(text).strip("\n"), "      ") + "\n"


BROKEN = [
    ("C-06", ENTRY + "modle_list: []\n", "config.yaml:5:1: modle_list: no such setting", 'did you mean "model_list"?'),
    ("C-07", params("api_kye: x"), "config.yaml:5:7: model_list[0].litellm_params.api_kye: no such", '"api_key"?'),
    ("C-07", params("tiemout: 3"), "config.yaml:5:7: model_list[0].litellm_params.tiemout: no such", '"timeout"?'),
    ("C-08", 'model_list: "hello"\n', "1:13: model_list: expected a list of mappings, got a string", "- mo"),
    (
        "C-09",
        "model_list:\n  - model_name: fast\n    litellm_params:\n      timeout: 3\n",
        "model_list[0].litellm_params.model: is missing; the entry's model_name is 'fast'",
        "add model: openai/",
    ),
    ("C-09", "model_list:\n  - model_name: fast\n", "litellm_params: is missing; the entry's", "add lite"),
    ("C-15", params('api_key: ""'), "config.yaml:5:16: model_list[0].litellm_params.api_key: is empty", "os.environ/"),
    ("C-15", params("api_key: your-api-key"), "config.yaml:5:16", "looks like a placeholder - write the key"),
    ("C-15", params("api_key: sk-..."), "config.yaml:5:16", "looks like a placeholder - write the key"),
    ("C-15", params("api_key: ${OPENAI_API_KEY}"), "config.yaml:5:16", "write os.environ/OPENAI_API_KEY"),
    ("C-15", params("api_key: <your key>"), "config.yaml:5:16", "looks like a placeholder - write the key"),
    ("C-16", params('api_key: "one\\ntwo"'), "config.yaml:5:16", "control character inside - write the key on one"),
    ("C-16", params("api_key: ｓk-abc"), "config.yaml:5:16", "holds a character that no key has (U+FF53)"),
    ("C-17", params("api_base: htp:/nowhere"), "config.yaml:5:17", "the scheme must be http or https, got 'htp'"),
    ("C-17", params("api_base: localhost:8000/v1"), "config.yaml:5:17", "write http://localhost:8000/v1 or https://"),
    ("C-17", params('api_base: ""'), "config.yaml:5:17", "the address is empty - write one such as http"),
    ("C-17", params('api_base: "http://a b/v1"'), "config.yaml:5:17", "holds a blank or control character (U+0020)"),
    ("C-17", params("api_base: http://host:99999/v1"), "config.yaml:5:17", "number from 1 to 65535, got 99999"),
    ("C-17", params("api_base: http://u:hunter22@h/v1"), "config.yaml:5:17", "in the address http://***@h/v1 - use"),
    ("C-17", params('api_base: "http://h/v1#top"'), "config.yaml:5:17", "a fragment (#...) has no place"),
    ("C-17", params("api_base: http://::1:8000/v1"), "config.yaml:5:17", "needs brackets, as http://[::1]:8000/v1"),
    ("C-19", params("timeout: 0"), "config.yaml:5:16", "timeout: must be above 0, got 0 - write a number of seconds"),
    ("C-19", params("timeout: -1"), "config.yaml:5:16", "must be above 0, got -1"),
    ("C-19", params("rpm: 0"), "config.yaml:5:12", "rpm: must be above 0, got 0"),
    ("C-19", params("tpm: -5"), "config.yaml:5:12", "tpm: must be above 0, got -5"),
    ("C-19", params("num_retries: -1"), "config.yaml:5:20", "num_retries: must be at least 0, got -1"),
    ("C-19", ENTRY + "litellm_settings: {max_budget: 0}\n", "config.yaml:5:32", "max_budget: must be above 0, got 0"),
    ("C-20", params("input_cost_per_token: .nan"), "config.yaml:5:29", "not a finite number"),
    ("C-20", params("input_cost_per_token: .inf"), "config.yaml:5:29", "not a finite number"),
    ("C-20", params("input_cost_per_token: -.inf"), "config.yaml:5:29", "not a finite number"),
    ("C-20", params("input_cost_per_token: 1e999"), "config.yaml:5:29", "not a finite number"),
    ("C-20", ENTRY + "litellm_settings: {max_budget: .inf}\n", "config.yaml:5:32", "not a finite number"),
    ("C-20", params("extra_body: {a: .nan}"), "config.yaml:5:23", "not a finite number"),
    ("C-21", params("timeout: abc"), "config.yaml:5:16", "expected a number of seconds above 0, got 'abc'"),
    ("C-22", params("timeout: 1:30"), "config.yaml:5:16", "sexagesimal"),
    ("C-22", ENTRY + "router_settings: {redis_port: 22:22}\n", "config.yaml:5:31", "quote it"),
    ("C-23", "model_list:\n  - model_name: yes\n    litellm_params: {model: a/b}\n", ":2:17", 'quote it: "yes"'),
    ("C-23", params("additional_drop_params:\n  - no"), "config.yaml:6:11", 'got a boolean (no) - quote it: "no"'),
    ("C-23", params("tags:\n  - on"), "config.yaml:6:11", 'got a boolean (on) - quote it: "on"'),
    ("C-43", ENTRY + "    model_info: {id: a}\n" + ENTRY.removeprefix("model_list:\n") + "    model_info: {id: a}\n",
     "config.yaml:9:22: model_list[1].model_info.id: the id 'a' is that of model_list[0]", "an id of its own"),
    ("C-44", ENTRY + "router_settings: {fallbacks: [{fast: [fst]}]}\n", "fallbacks[0].fast[0]", "did you mean 'fast'?"),
    ("C-44", ENTRY + "litellm_settings: {default_fallbacks: [slow]}\n", "default_fallbacks[0]", "known: fast"),
    ("C-45", ENTRY + "router_settings: {fallbacks: [{fast: [fast]}]}\n", "falls back to itself", "name another model"),
    ("C-47", ENTRY + "router_settings: {model_group_alias: {a: b, b: a}}\n", "config.yaml:5:42", "a -> b -> a"),
    ("C-47", ENTRY + "router_settings: {model_group_alias: {a: fsat}}\n", "config.yaml:5:42", "did you mean 'fast'?"),
    ("C-52", ENTRY + "general_settings: {database_url: mysql://u:p@h/d}\n", "config.yaml:5:34", "postgresql://"),
    ("C-52", ENTRY + 'general_settings: {database_url: "postgresql://u:p@q@h/d"}\n', "config.yaml:5:34", "%40"),
]  # fmt: skip


@pytest.mark.row("C-06", "C-07", "C-08", "C-09", "C-15", "C-16", "C-17", "C-19", "C-20", "C-21", "C-22", "C-23")
@pytest.mark.row("C-43", "C-44", "C-45", "C-47", "C-52")
@pytest.mark.parametrize(("row", "text", "place", "cure"), BROKEN, ids=lambda part: part if part[:2] == "C-" else "")
def test_a_broken_value_is_answered_with_place_and_cure(check, row, text, place, cure):
    """One error, where it stands, with what to do; and there is no configuration."""
    loaded, lines = check(text)

    errors = [line for line in lines if ": warning: " not in line and ": note: " not in line]
    assert loaded.config is None
    assert len(errors) == 1, lines
    assert place in errors[0]
    assert cure in errors[0]


@pytest.mark.row("C-07")
def test_a_parameter_nobody_knows_goes_to_the_provider_with_one_warning(check):
    """However many entries have it, it is said once."""
    entry = "  - model_name: fast\n    litellm_params: {model: openai/fast, frobnicate: 3}\n"

    loaded, lines = check("model_list:\n" + entry * 3)

    said = [line for line in lines if "frobnicate" in line]
    assert len(said) == 1
    assert said[0].startswith("config.yaml:3:54: warning: model_list[0].litellm_params.frobnicate: unknown here; sent")
    assert said[0].endswith("(here and in 2 more)")
    assert loaded.config.model_list[2].litellm_params.body_defaults() == {"frobnicate": 3}


def test_request_fields_are_defaults_without_a_warning(check):
    """What OpenAI's API and well-known servers know may be set as it is."""
    loaded, lines = check(params("temperature: 0.2\ntop_p: 1\nstop: [a, b]\nseed: 7\ntop_k: 40\nnum_ctx: 8192"))

    assert lines == []
    assert loaded.config.model_list[0].litellm_params.body_defaults() == {
        "temperature": 0.2, "top_p": 1.0, "stop": ["a", "b"], "seed": 7, "top_k": 40, "num_ctx": 8192,
    }  # fmt: skip


@pytest.mark.row("C-13")
def test_all_missing_variables_are_listed_with_their_paths(check):
    """One run names them all, wherever they stand."""
    text = params("api_key: os.environ/NOPE_ONE\nextra_headers: {x-team: os.environ/NOPE_TWO}")
    text += "general_settings:\n  alerting_args:\n    list: [{deep: os.environ/NOPE_THREE}]\n"

    loaded, lines = check(text, {"NOPE_FOUR": "x"})

    assert loaded.config is None
    assert [line.split(" - ")[0] for line in lines if "alerting_args: known" not in line] == [
        "config.yaml:5:16: model_list[0].litellm_params.api_key: the variable NOPE_ONE is not set",
        "config.yaml:6:31: model_list[0].litellm_params.extra_headers.x-team: the variable NOPE_TWO is not set",
        "config.yaml:9:19: general_settings.alerting_args.list[0].deep: the variable NOPE_THREE is not set",
    ]


@pytest.mark.row("C-14")
@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0", '""'])
def test_a_variable_that_is_set_but_empty_is_an_error_unless_allowed(check, blank):
    """`allow_empty` makes the setting count as absent."""
    text = params("api_key: os.environ/KEY\nextra_headers: {x-team: os.environ/KEY, x-site: a}")

    refused, lines = check(text, {"KEY": blank})
    allowed, _ = check(text + "general_settings: {allow_empty: true}\n", {"KEY": blank})

    assert refused.config is None
    assert ["the variable KEY is set, but empty" in line for line in lines] == [True, True]
    assert allowed.config.model_list[0].litellm_params.api_key is None
    assert list(allowed.config.model_list[0].litellm_params.extra_headers) == ["x-site"]


@pytest.mark.row("C-15")
def test_the_text_none_is_a_key_for_servers_of_ones_own(check):
    """`api_key: None` is sent as it is, and nothing is said; on a public host there is a warning."""
    own, quiet = check(params("api_key: None\napi_base: http://host.docker.internal:20080/v1"))
    public, lines = check(params("api_key: None\napi_base: https://api.example.com/v1"))

    assert own.config.model_list[0].litellm_params.api_key.reveal() == "None"
    assert quiet == []
    assert public.config is not None
    assert "warning: model_list[0].litellm_params.api_key: 'None' looks like no key" in lines[0]


@pytest.mark.row("C-15")
def test_a_key_without_a_value_counts_as_absent_and_is_said(check):
    """`api_key:` and `api_key: null` leave the key out."""
    loaded, lines = check(params("api_key: null"))

    assert loaded.config.model_list[0].litellm_params.api_key is None
    assert "warning: model_list[0].litellm_params.api_key: has no value, and counts as absent" in lines[0]


@pytest.mark.row("C-16")
@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}", "\u00a0{}", '"{}"', "'{}'", "\ufeff{}\u200b"])
def test_a_secret_is_trimmed_with_a_warning(check, around):
    """Line ends, blanks and quotes around a variable's value never reach a header."""
    loaded, lines = check(params("api_key: os.environ/KEY"), {"KEY": around.format(SECRET)})

    assert loaded.config.model_list[0].litellm_params.api_key.reveal() == SECRET
    assert len(lines) == 1
    assert "the value of KEY has blanks or quotes around it" in lines[0]


@pytest.mark.row("C-16")
def test_a_secret_in_the_file_is_trimmed_too(check):
    """Quoting keeps the blanks; they are cut off all the same."""
    loaded, lines = check(params(f'api_key: " {SECRET} "'))

    assert loaded.config.model_list[0].litellm_params.api_key.reveal() == SECRET
    assert "blanks or quotes around the key were cut off" in lines[0]


@pytest.mark.row("C-18")
@pytest.mark.parametrize("tail", ["/v1/chat/completions", "/v1/v1"])
def test_a_base_that_ends_in_an_endpoint_is_warned_of_with_the_effective_address(check, tail):
    """The warning shows where a chat would go."""
    loaded, lines = check(params(f"api_base: http://localhost:8000{tail}"))

    assert loaded.config is not None
    assert f"a chat is sent to http://localhost:8000{tail}/chat/completions" in lines[0]
    assert lines[0].endswith("end it as http://localhost:8000/v1")


@pytest.mark.row("C-21")
@pytest.mark.parametrize(("written", "value"), [("1e3", 1000.0), ("1_000", 1000.0), ('"5"', 5.0), ("0.5", 0.5)])
def test_numbers_follow_one_strict_grammar(check, written, value):
    """What YAML 1.1 takes for a text is a number where a number is wanted."""
    loaded, _ = check(params(f"timeout: {written}"))

    assert loaded.config.model_list[0].litellm_params.timeout == value


@pytest.mark.row("C-24")
def test_a_date_stays_the_text_that_was_written(check):
    """`api_version: 2024-10-21` is no date object."""
    loaded, lines = check(params("api_version: 2024-10-21"))

    assert loaded.config.model_list[0].litellm_params.api_version == "2024-10-21"
    assert lines == []


@pytest.mark.row("C-25")
@pytest.mark.parametrize("name", ["4.1", "0123", "1e3"])
def test_a_name_that_looks_like_a_number_is_restored_with_a_warning(check, name):
    """The text from the file is the name, to the letter."""
    loaded, lines = check(f"model_list:\n  - model_name: {name}\n    litellm_params: {{model: openai/a}}\n")

    assert loaded.config.model_list[0].model_name == name
    assert len(lines) == 1
    assert "config.yaml:2:17: warning: model_list[0].model_name: " in lines[0]
    assert "quote it" in lines[0]


@pytest.mark.row("C-27")
def test_a_comment_that_cuts_a_value_is_warned_of(check):
    """`api_key: sk-abc #def` holds less than was meant."""
    loaded, lines = check(params(f"api_key: {SECRET} #def"))

    assert loaded.config.model_list[0].litellm_params.api_key.reveal() == SECRET
    assert "comment" in lines[0]
    assert "warning" in lines[0]
    assert SECRET not in lines[0]


@pytest.mark.row("C-42")
def test_two_names_that_look_the_same_are_one_name_twice(check):
    """Composed and decomposed kana are told apart by no reader."""
    entries = "".join(
        f"  - model_name: {name}\n    litellm_params: {{model: openai/a}}\n" for name in ("\u304c", "\u304b\u3099")
    )

    loaded, lines = check("model_list:\n" + entries)

    assert loaded.config is None
    assert "config.yaml:4:17: model_list[1].model_name: same name twice" in lines[0]


@pytest.mark.row("C-43")
def test_one_name_twice_is_a_group_of_deployments(check):
    """Two entries of one name share its traffic."""
    entry = "  - model_name: fast\n    litellm_params: {model: openai/fast}\n"

    loaded, lines = check("model_list:\n" + entry * 2)

    assert [each.model_name for each in loaded.config.model_list] == ["fast", "fast"]
    assert lines == []


@pytest.mark.row("C-45")
def test_a_ring_of_fallbacks_and_a_long_chain_are_warned_of(check):
    """No fallback is asked twice for one call, so a ring never hangs; it is said where it begins."""
    names = [f"m{number}" for number in range(52)]
    entries = "".join(f"  - model_name: {name}\n    litellm_params: {{model: openai/a}}\n" for name in names)
    chain = ", ".join(f"{{{one}: [{other}]}}" for one, other in pairwise(names[2:]))

    _, ring = check(f"model_list:\n{entries}router_settings: {{fallbacks: [{{m0: [m1]}}, {{m1: [m0]}}]}}\n")
    _, long = check(f"model_list:\n{entries}router_settings: {{fallbacks: [{chain}]}}\n")

    assert [line for line in ring if "m0 -> m1 -> m0" in line and "fallbacks[0].m0" in line]
    assert [line for line in long if "a chain of 49 fallbacks" in line]


@pytest.mark.row("C-59")
@pytest.mark.parametrize(
    "text",
    [
        params(f"api_key: {SECRET}\ntimeout: {SECRET}"),
        params(f"api_kye: {SECRET}"),
        params(f"api_key: [{SECRET}]"),
        params(f"api_key:\n  {SECRET}: 1"),
        params(f"api_base: http://user:{SECRET}@host/v1"),
        params(f"api_base: user:{SECRET}@host/v1"),
        params(f"drop_params: {SECRET}"),
        params(f"{SECRET}: 1"),
        ENTRY + f"general_settings: {{database_url: 'mysql://u:{SECRET}@h/d', master_key: {{a: {SECRET}}}}}\n",
        ENTRY + f"router_settings: {{routing_strategy: {SECRET}, redis_url: 'redis://:{SECRET}@h', redis_prt: 1}}\n",
        ENTRY + f"{SECRET}: 1\n",
        f"model_list: {SECRET}\n",
    ],
)
def test_no_problem_ever_prints_a_secret(check, text):
    """Whatever is wrong on its line, the secret is not in the message."""
    loaded, lines = check(text)

    assert lines
    assert not [line for line in lines if SECRET in line]
    assert SECRET not in repr(loaded.config)
    assert not [state for state in loaded.states if SECRET in state.path + state.why]


@pytest.mark.row("C-60")
def test_a_hundred_errors_are_a_hundred_lines_in_order(check):
    """One run says all that is wrong, by place."""
    entry = "  - model_name: m{0}\n    litellm_params: {{model: openai/a, timeout: -{0}}}\n"
    text = "model_list:\n" + "".join(entry.format(number) for number in range(1, 101))

    loaded, lines = check(text)

    assert loaded.config is None
    assert len(lines) == 100
    assert [int(line.split(":")[1]) for line in lines] == [1 + 2 * number for number in range(1, 101)]
