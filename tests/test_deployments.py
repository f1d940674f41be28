import pytest

from proxy_cli.config.models import Credential, ModelEntry, SharedParams
from proxy_cli.config.problem import Place, Severity
from proxy_cli.config.reading import Unreadable
from proxy_cli.deployments import Common, build
from proxy_cli.errors import UnknownModel
from proxy_cli.prices.cost import prices_of
from proxy_cli.prices.table import PriceTable
from proxy_cli.shapes import Backend, Mirror, Operation, Usage

PRICES = PriceTable.load()
LOCAL = "http://localhost:20080/v1"


def entry(model, name="a", info=None, **params):
    return ModelEntry.model_validate(
        {"model_name": name, "litellm_params": {"model": model, **params}, "model_info": info or {}}
    )


def built(*entries, environ=None, **common):
    return build(entries, Common(environ=environ or {}, prices=PRICES, **common), lambda _path: Place("f", 1, 1))


def one(model, environ=None, info=None, common=None, **params):
    result = built(entry(model, info=info, **params), environ=environ, **(common or {}))
    assert len(result.deployments) == 1, [str(problem) for problem in result.problems]
    return result.deployments[0], [problem.message for problem in result.problems]


def test_the_seeds_entry_goes_to_its_own_server():
    """openai/ with an api_base is any compatible server; the text None is a key like any other there."""
    deployment, problems = one("openai/vicuna-13b", api_base="http://host.docker.internal:20080/v1", api_key="None")

    assert deployment.model == "vicuna-13b"
    assert deployment.backend == Backend("http", "host.docker.internal", 20080)
    assert deployment.base_path == "/v1"
    assert deployment.api_key.reveal() == "None"
    assert problems == []


def test_without_a_base_the_providers_own_host_and_variable_are_used():
    """groq/ goes to groq, with the key from its variable."""
    deployment, problems = one("groq/llama-3.3-70b-versatile", environ={"GROQ_API_KEY": "gsk-1"})

    assert str(deployment.backend) == "https://api.groq.com"
    assert deployment.base_path == "/openai/v1"
    assert deployment.api_key.reveal() == "gsk-1"
    assert problems == []


def test_a_bare_name_is_inferred_from_the_price_table():
    """gpt-4o is OpenAI's."""
    deployment, _ = one("gpt-4o", environ={"OPENAI_API_KEY": "sk-1"})

    assert (deployment.provider, deployment.backend.host) == ("openai", "api.openai.com")
    assert deployment.rates["input_cost_per_token"] == 2.5e-06
    assert deployment.mode == "chat"


@pytest.mark.parametrize(
    ("name", "mode"), [("text-embedding-ada-002", "embedding"), ("whisper-1", "audio_transcription"), ("gpt-4o", None)]
)
def test_a_public_name_tells_the_kind_of_a_model_that_nothing_is_known_of(name, mode):
    """So the seed's embeddings are shown, and asked for in health checks, as what they are."""
    (deployment,) = built(entry("openai/sentence-luke", name=name, api_base="http://localhost:40080/v1")).deployments

    assert deployment.mode == mode


def test_what_is_known_of_a_model_counts_more_than_its_public_name():
    """The name is only a guess."""
    (deployment,) = built(entry("openai/gpt-4o", name="text-embedding-ada-002", api_base="http://h/v1")).deployments

    assert deployment.mode == "chat"


@pytest.mark.parametrize("model", ["dall-e-3", "text-moderation-latest"])
def test_a_bare_name_of_a_well_known_model_needs_no_price(model):
    """The price list has no row for it."""
    deployment, _ = one(model, api_key="sk-abcdef")

    assert (deployment.provider, deployment.model) == ("openai", model)


def test_a_providers_key_is_not_sent_to_a_foreign_host():
    """OPENAI_API_KEY stays here when api_base points elsewhere, and that is said with the cure."""
    deployment, problems = one("openai/m", api_base="https://models.example/v1", environ={"OPENAI_API_KEY": "sk-1"})

    assert deployment.api_key is None
    assert any("OPENAI_API_KEY" in problem and "os.environ/OPENAI_API_KEY" in problem for problem in problems)


@pytest.mark.row("A-35")
def test_an_entry_of_the_database_that_names_its_host_gets_no_key_of_this_machine():
    """Whoever may add models by the API does not decide where the keys of variables go."""
    environ = {"AZURE_API_KEY": "sk-of-the-machine", "AZURE_API_VERSION": "2024-10-21"}
    place = {"api_base": "http://10.0.0.1", "api_version": "2024-10-21"}

    of_the_file, _ = one("azure/x", environ, **place)
    of_the_database, _ = one("azure/x", environ, {"db_model": True}, **place)

    assert of_the_file.api_key is not None
    assert of_the_database.api_key is None


def test_a_missing_key_of_a_hosted_service_is_said():
    """Requests would only be refused there."""
    _, problems = one("groq/llama-3.3-70b-versatile")

    assert any("GROQ_API_KEY" in problem for problem in problems)


@pytest.mark.parametrize(
    ("model", "params", "words"),
    [
        ("anthropic/claude-opus-4", {}, "not yet supported"),
        ("opnai/gpt-4o", {}, "openai"),
        ("no-such-model-anywhere", {}, "api_base"),
        ("hosted_vllm/m", {}, "api_base"),
        ("openai/m", {"litellm_credential_name": "nope"}, "credential_list"),
        ("openai:gpt-4o", {}, "write openai/gpt-4o"),
        ("openai\\gpt-4o", {}, "write openai/gpt-4o"),
        ("openai", {}, "write openai/<model>"),
        ("https://api.openai.com/v1", {}, "write it as api_base"),
        ("openai/ gpt-4o", {}, "a blank before or after a name"),
        ("openai/gpt-4o,", {}, "ends in ,"),
    ],
)
def test_an_entry_that_goes_nowhere_is_a_problem_with_a_cure(model, params, words):
    """It is left out, with its place and path; the others stay."""
    result = built(entry(model, **params), entry("openai/m", api_base=LOCAL, name="b"))

    errors = [problem for problem in result.problems if problem.severity is Severity.ERROR]
    assert [each.group for each in result.deployments] == ["b"]
    assert words in str(errors[0])
    assert errors[0].cure or "credential_list" in words
    assert errors[0].path == "model_list[0].litellm_params.model"


def test_a_provider_nobody_knows_is_told_at_its_own_place():
    """It would be passed over in silence where the model has a prefix."""
    (problem,) = built(entry("m", custom_llm_provider="opanai", api_base=LOCAL)).problems

    assert problem.path == "model_list[0].litellm_params.custom_llm_provider"
    assert problem.cure == 'did you mean "openai"?'


def test_a_provider_that_the_prefix_overrules_is_said():
    """No setting is ignored in silence."""
    _, said = one("openai/m", custom_llm_provider="azure", api_base=LOCAL)

    assert said == ["custom_llm_provider: azure is not used: the model begins with openai/"]


def test_a_variable_inside_a_model_is_said():
    """It would be asked for to the letter."""
    _, said = one("openai/${MODEL:-x}", api_base=LOCAL)

    assert said == ["the model is called openai/${MODEL:-x} to the letter: only os.environ/NAME names a variable"]


def test_a_key_in_the_place_of_a_model_is_not_repeated():
    """The wrong line is the likeliest place for it."""
    result = built(entry("sk-Zx81bQ0mTt5vKp93LwYd"))

    assert "Zx81" not in str(result.problems[0])


def test_no_default_host_when_the_base_is_empty():
    """An api_base that is set but empty never means the public host."""
    with pytest.raises(Unreadable, match="the address is empty"):
        entry("openai/gpt-4o", api_base="")


def test_a_credential_fills_in_what_the_entry_leaves_out():
    """The entry's own word wins."""
    credential = Credential.model_validate(
        {"credential_name": "shared", "credential_values": {"api_key": "sk-shared", "api_base": LOCAL}}
    )
    common = {"credentials": {"shared": credential}}

    filled, _ = one("openai/m", litellm_credential_name="shared", common=common)
    own, _ = one("openai/m", litellm_credential_name="shared", api_key="sk-own", common=common)

    assert (filled.api_key.reveal(), filled.backend.port) == ("sk-shared", 20080)
    assert own.api_key.reveal() == "sk-own"


def test_defaults_for_all_are_below_everything():
    """router_settings.default_litellm_params."""
    given = {"api_base": LOCAL, "temperature": 0.1, "top_p": 0.5, "x_vendor": 1, "timeout": 5}
    common = {"params": SharedParams.model_validate(given)}

    deployment, _ = one("openai/m", temperature=0.9, x_other=2, common=common)

    assert deployment.defaults == {"temperature": 0.9, "top_p": 0.5, "x_vendor": 1, "x_other": 2}
    assert deployment.timeout_s == 5


def test_ids_are_stable_and_different():
    """The same entry has the same id at every start; twins still differ; a key of one's own wins."""
    twins = built(entry("openai/m", api_base=LOCAL), entry("openai/m", api_base=LOCAL))
    again = built(entry("openai/m", api_base=LOCAL))
    named, _ = one("openai/m", api_base=LOCAL, info={"id": "mine"})

    ids = [each.id for each in twins.deployments]
    assert len(set(ids)) == 2
    assert ids[0] == again.deployments[0].id
    assert named.id == "mine"


def test_weights_come_from_what_the_group_has():
    """weight if any has one, else rpm, else tpm, else all alike."""

    def weights(*params):
        result = built(*(entry(f"openai/m{n}", api_base=LOCAL, **each) for n, each in enumerate(params)))
        return [each.weight for each in result.deployments]

    assert weights({"weight": 2}, {"rpm": 100}) == [2, 0]
    assert weights({"rpm": 10}, {"rpm": 30}) == [10, 30]
    assert weights({"tpm": 5}, {}) == [5, 0]
    assert weights({}, {}) == [1, 1]


def test_a_star_alone_is_resolved_by_each_requested_name():
    """`*` with `model: "*"` serves every provider that is built, and says what is wrong with other names."""
    result = built(entry("*", name="*"), environ={"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": "gsk-1"})
    (placeholder,) = result.deployments

    assert result.expand(placeholder, "gpt-4o").backend.host == "api.openai.com"
    assert result.expand(placeholder, "groq/llama-3.1-8b-instant").model == "llama-3.1-8b-instant"
    with pytest.raises(UnknownModel, match="anthropic"):
        result.expand(placeholder, "anthropic/claude-opus-4")


def test_a_wildcards_concrete_model_has_its_own_price():
    """openai/* asked for gpt-4o is billed as gpt-4o."""
    result = built(entry("openai/*", name="openai/*"), environ={"OPENAI_API_KEY": "sk-1"})

    concrete = result.expand(result.deployments[0], "openai/gpt-4o")

    assert concrete.model == "gpt-4o"
    assert concrete.rates["output_cost_per_token"] == 1e-05
    assert concrete.id == result.deployments[0].id


def test_limits_of_one_deployment_do_not_leak_into_another():
    """A window set for one entry is that entry's alone."""
    result = built(
        entry("openai/gpt-4o", api_base=LOCAL, info={"max_input_tokens": 5}),
        entry("openai/gpt-4o", api_base=LOCAL, name="b"),
    )

    assert [each.info.get("max_input_tokens") for each in result.deployments] == [5, None]


def test_mock_responses_need_no_address():
    """Nor a provider that is known."""
    deployment, problems = one("openai/any", mock_response="はい")

    assert deployment.mock_response == "はい"
    assert problems == []


def test_known_secrets_are_gathered_for_scrubbing():
    """Keys and secret-looking headers, not every header."""
    result = built(
        entry("openai/m", api_base=LOCAL, api_key="sk-k", extra_headers={"x-api-token": "t-1", "x-team": "everyday"})
    )

    assert {each.reveal() for each in result.secrets} == {"sk-k", "t-1"}


def test_prices_that_hold_for_all_entries_reach_each_of_them():
    """And an entry's own price wins over them."""
    shared = SharedParams.model_validate({"input_cost_per_token": 0.5, "output_cost_per_token": 0.25})
    plain, own = built(
        entry("openai/vicuna", api_base=LOCAL),
        entry("openai/vicuna", api_base=LOCAL, input_cost_per_token=1.0),
        params=shared,
    ).deployments

    assert (plain.rates["input_cost_per_token"], plain.rates["output_cost_per_token"]) == (0.5, 0.25)
    assert (own.rates["input_cost_per_token"], own.rates["output_cost_per_token"]) == (1.0, 0.25)


def test_what_an_entry_says_of_routing_reaches_its_deployment():
    """Each in its field, by either of its names."""
    info = {
        "allowed_fails": 0,
        "allowed_fails_policy": {"TimeoutErrorAllowedFails": 4},
        "cooldown_time": 9,
        "max_input_tokens": 77,
        "disable_background_health_check": True,
    }
    deployment, problems = one(
        "openai/gpt-4o",
        info=info,
        api_base=LOCAL,
        order=0,
        tags=["free", "default"],
        tag_regex=["^User-Agent: claude-code/"],
        max_parallel_requests=2,
        rpm=30,
        tpm=4000,
        max_retries=0,
        keepalive_seconds=0,
        region_name="eu-west",
        mirror={"model": "b", "percent": 5},
    )

    assert problems == []
    assert (deployment.order, deployment.retries, deployment.max_parallel) == (0, 0, 2)
    assert (deployment.rpm, deployment.tpm, deployment.weight) == (30, 4000, 30.0)
    assert (deployment.tags, deployment.tag_patterns) == (("free", "default"), ("^User-Agent: claude-code/",))
    assert (deployment.rest_s, deployment.allowed_fails) == (9.0, 0)
    assert deployment.allowed_fails_policy == {"TimeoutErrorAllowedFails": 4}
    assert (deployment.heartbeat_s, deployment.region, deployment.window) == (0.0, "eu-west", 77)
    assert deployment.mirror == Mirror("b", 5.0)
    assert not deployment.probed


def test_an_entry_that_says_nothing_of_routing_leaves_it_open():
    """So that the rules for all hold."""
    deployment, _ = one("openai/vicuna", api_base=LOCAL)

    fields = "order max_parallel rpm tpm retries rest_s allowed_fails heartbeat_s region window mirror"
    assert [name for name in fields.split() if getattr(deployment, name) is not None] == []
    assert (deployment.tags, deployment.tag_patterns, deployment.allowed_fails_policy) == ((), (), {})
    assert deployment.probed


def test_an_entrys_own_word_on_routing_wins():
    """Over the parameters of the model's information, and over what holds for all."""
    common = {"max_parallel": 8, "heartbeat_s": 20.0, "params": SharedParams.model_validate({"num_retries": 7})}
    own, _ = one(
        "openai/vicuna",
        api_base=LOCAL,
        info={"cooldown_time": 9},
        cooldown_time=0,
        num_retries=1,
        max_retries=5,
        max_parallel_requests=1,
        keepalive_seconds=3,
        common=common,
    )
    shared, _ = one("openai/vicuna", api_base=LOCAL, common=common)

    assert (own.rest_s, own.retries, own.max_parallel, own.heartbeat_s) == (0.0, 1, 1, 3.0)
    assert (shared.rest_s, shared.retries, shared.max_parallel, shared.heartbeat_s) == (None, 7, 8, 20.0)


def test_a_window_is_the_price_lists_where_the_entry_says_none():
    """Also of the model that a wildcard comes to stand for."""
    known, _ = one("openai/gpt-4o", api_base=LOCAL)
    result = built(entry("openai/*", name="openai/*", rpm=5, tags=["a"]), environ={"OPENAI_API_KEY": "sk-1"})
    concrete = result.expand(result.deployments[0], "openai/gpt-4o")

    assert known.window == 128000
    assert result.deployments[0].window is None
    assert (concrete.window, concrete.rpm, concrete.tags) == (128000, 5, ("a",))


def test_how_many_calls_run_at_a_time_is_not_derived_from_a_minutes_limits():
    """One long call a minute and a hundred short ones are both within them."""
    deployment, _ = one("openai/vicuna", api_base=LOCAL, rpm=60, tpm=1000)

    assert deployment.max_parallel is None


@pytest.mark.row("C-64")
def test_a_model_without_a_price_is_refused_where_prices_are_needed():
    """Not one that has a price in the list, in its entry or by the hour, nor one that is answered without a backend."""
    common = {"needs_price": True}

    assert one("openai/gpt-4o", common=common)[0].refusal == ""
    assert one("openai/vicuna", api_base=LOCAL, common=common, input_cost_per_token=0)[0].refusal == ""
    assert one("openai/vicuna", api_base=LOCAL, common=common, gpu_hour_cost=2.5)[0].refusal == ""
    assert one("openai/vicuna", common=common, mock_response="hi")[0].refusal == ""
    assert one("openai/vicuna", api_base=LOCAL)[0].refusal == ""
    assert one("openai/vicuna", api_base=LOCAL, common=common)[0].refusal.startswith("the price of a is not known")


def test_a_providers_discount_and_margin_reach_its_prices():
    """Those of the list and those of one's own, and nothing where there are none."""
    common = {"discounts": {"openai": 0.5}, "margins": {"global": {"fixed_amount": 0.001}}}
    usage = Usage(1000)

    listed, _ = one("openai/gpt-4o", common=common)
    own, _ = one("openai/vicuna", api_base=LOCAL, common=common, input_cost_per_token=2e-06)
    free, _ = one("openai/vicuna", api_base=LOCAL, common=common)

    assert prices_of(listed).cost_nano(usage, Operation.CHAT) == 1_250_000 + 1_000_000
    assert prices_of(own).cost_nano(usage, Operation.CHAT) == 1_000_000 + 1_000_000
    assert free.rates == {}


def test_pictures_have_their_prices_by_quality_and_size():
    """Also of a model that has no entry of its own in the list."""
    deployment, _ = one("azure/dall-e-3", api_base="https://x.openai.azure.com", api_key="k", api_version="v")

    nano = prices_of(deployment).cost_nano(Usage(images=1, picture="hd/1024x1024"), Operation.IMAGE_GENERATIONS)

    assert nano == 87_999_958
