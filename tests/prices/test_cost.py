"""What usages cost."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy_cli.prices.cost import Prices, own_prices, prices_of, rates_of
from proxy_cli.prices.table import PriceTable
from proxy_cli.shapes import Operation, Usage
from tests.routing.test_table import deployment

GPT_4O = {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06}
CHAT = Operation.CHAT


def test_cost_charges_cached_tokens_at_their_own_rate():
    """2 fresh, 3 cached and 2 answered tokens of gpt-4o are 2.875e-05 dollars."""
    usage = Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=3)

    assert Prices(GPT_4O).cost_usd(usage, CHAT) == pytest.approx(2.875e-05)


def test_cost_charges_cached_tokens_like_others_where_no_rate_is_known():
    """Prices of one's own without a cache rate hold for every token: 5 x 0.001 + 2 x 0.002."""
    usage = Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=3)
    rates = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}

    assert Prices(rates).cost_usd(usage, CHAT) == pytest.approx(0.009)


def test_cost_charges_each_part_at_its_rate():
    """Text, cached, newly cached and heard tokens; text, thought and spoken ones."""
    usage = Usage(
        prompt_tokens=1000,
        cached_tokens=100,
        cache_creation_tokens=200,
        audio_prompt_tokens=300,
        completion_tokens=100,
        reasoning_tokens=20,
        audio_completion_tokens=30,
    )
    rates = {
        "input_cost_per_token": 1.0,
        "cache_read_input_token_cost": 0.1,
        "cache_creation_input_token_cost": 1.25,
        "input_cost_per_audio_token": 10.0,
        "output_cost_per_token": 4.0,
        "output_cost_per_reasoning_token": 8.0,
        "output_cost_per_audio_token": 20.0,
    }

    expected = (400 * 1.0 + 100 * 0.1 + 200 * 1.25 + 300 * 10.0) + (50 * 4.0 + 20 * 8.0 + 30 * 20.0)
    assert Prices(rates).cost_usd(usage, CHAT) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [(200_000, 200_000 * 1.0 + 10 * 5.0), (200_001, 200_001 * 2.0 + 10 * 7.5), (300_000, 300_000 * 3.0 + 10 * 7.5)],
)
def test_cost_past_a_threshold_holds_for_the_whole_request(prompt, expected):
    """One token past the threshold and every token of prompt and answer costs the higher price."""
    rates = {
        "input_cost_per_token": 1.0,
        "output_cost_per_token": 5.0,
        "input_cost_per_token_above_200k_tokens": 2.0,
        "input_cost_per_token_above_272k_tokens": 3.0,
        "output_cost_per_token_above_200k_tokens": 7.5,
        "input_cost_per_token_above_200k_tokens_priority": 99.0,
    }

    usage = Usage(prompt_tokens=prompt, completion_tokens=10)
    assert Prices(rates).cost_usd(usage, CHAT) == pytest.approx(expected)


@pytest.mark.parametrize(("prompt", "price"), [(256_000, 1.0), (256_001, 5.0), (2_000_000, 5.0)])
def test_cost_takes_the_bracket_of_the_prompt(prompt, price):
    """Of tiered prices the prompt's length chooses one; past the last bracket the last one holds."""
    rates = {
        "tiered_pricing": [
            {"range": [0, 256000.0], "input_cost_per_token": 1.0, "output_cost_per_token": 2.0},
            {"range": [256000.0, 1000000.0], "input_cost_per_token": 5.0, "output_cost_per_token": 6.0},
        ]
    }

    assert Prices(rates).cost_usd(Usage(prompt_tokens=prompt), CHAT) == pytest.approx(prompt * price)


def test_cost_skips_brackets_that_are_none():
    """A tier without a range is not a price."""
    rates = {"tiered_pricing": [{"input_cost_per_token": 1.0}, 7]}

    assert Prices(rates).cost_usd(Usage(prompt_tokens=1), CHAT) is None


def test_cost_of_embeddings_is_their_input():
    """Whatever an embedding's entry says of output, only the prompt is paid."""
    rates = {"input_cost_per_token": 2e-08, "output_cost_per_token": 1.0}
    usage = Usage(prompt_tokens=1000, completion_tokens=7)

    assert Prices(rates).cost_usd(usage, Operation.EMBEDDINGS) == pytest.approx(2e-05)


def test_cost_of_a_transcript_is_its_seconds_once():
    """An entry with both an input and an output price for a second means one price."""
    rates = {"input_cost_per_second": 0.0001, "output_cost_per_second": 0.0001}

    assert Prices(rates).cost_usd(Usage(seconds=60.0), Operation.TRANSCRIPTIONS) == pytest.approx(0.006)


def test_cost_of_a_transcript_is_its_tokens_where_they_are_counted():
    """Counted tokens are preferred to seconds."""
    rates = {
        "input_cost_per_second": 1.0,
        "input_cost_per_token": 2.0,
        "input_cost_per_audio_token": 3.0,
        "output_cost_per_token": 5.0,
    }
    usage = Usage(prompt_tokens=10, audio_prompt_tokens=8, completion_tokens=4, seconds=9.0)

    assert Prices(rates).cost_usd(usage, Operation.TRANSCRIPTIONS) == pytest.approx(2 * 2 + 8 * 3 + 4 * 5)


def test_cost_of_a_transcript_of_unknown_length_is_unknown():
    """Without tokens and seconds there is no price, and not a price of zero."""
    assert Prices({"input_cost_per_second": 0.1}).cost_usd(Usage(), Operation.TRANSLATIONS) is None


@pytest.mark.parametrize(
    ("operation", "usage", "rates", "expected"),
    [
        (Operation.SPEECH, Usage(characters=1000), {"input_cost_per_character": 1.5e-05}, 0.015),
        (Operation.SPEECH, Usage(characters=9), {"input_cost_per_token": 1.0}, None),
        (Operation.RERANK, Usage(queries=3), {"input_cost_per_query": 0.002, "input_cost_per_token": 0.0}, 0.006),
        (Operation.RERANK, Usage(prompt_tokens=10), {"input_cost_per_token": 0.1}, 1.0),
        (Operation.IMAGE_GENERATIONS, Usage(images=2), {"output_cost_per_image": 0.04}, 0.08),
        (Operation.IMAGE_GENERATIONS, Usage(images=2), {"input_cost_per_image": 0.01}, 0.02),
        (
            Operation.IMAGE_EDITS,
            Usage(prompt_tokens=10, completion_tokens=100, images=1),
            {"input_cost_per_token": 1.0, "output_cost_per_image_token": 4.0},
            410.0,
        ),
        (Operation.CHAT, Usage(prompt_tokens=1), {"input_cost_per_request": 0.5, "input_cost_per_token": 0.1}, 0.6),
        (Operation.CHAT, Usage(prompt_tokens=1), {}, None),
        (Operation.MODERATIONS, Usage(prompt_tokens=1), {"input_cost_per_token": 0.0}, 0.0),
    ],
)
def test_cost_is_counted_in_the_unit_that_is_priced(operation, usage, rates, expected):
    """Characters, queries, pictures and requests have prices of their own; without one there is none."""
    cost = Prices(rates).cost_usd(usage, operation)

    assert cost == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf"), "dear", True, None, [1]])
def test_cost_takes_no_price_that_is_none(price):
    """A price that is no finite number above zero is no price."""
    assert Prices({"input_cost_per_token": price}).cost_usd(Usage(prompt_tokens=1), CHAT) is None


def test_cost_reads_a_price_that_yaml_took_for_text():
    """1e-6 is text to YAML 1.1, and still a price."""
    assert Prices({"input_cost_per_token": "1e-6"}).cost_usd(Usage(prompt_tokens=2), CHAT) == pytest.approx(2e-06)


def test_rates_of_own_settings_hide_the_table():
    """A price in litellm_params, else in model_info, stands alone; the table speaks only where both are silent."""
    entry = {"input_cost_per_token": 1.0, "cache_read_input_token_cost": 0.5, "supports_vision": True}

    assert rates_of({"input_cost_per_token": 2.0, "model": "x"}, {}, entry) == {"input_cost_per_token": 2.0}
    assert rates_of({}, {"output_cost_per_token": 3.0, "id": "a"}, entry) == {"output_cost_per_token": 3.0}
    assert rates_of({}, {}, entry) == {"input_cost_per_token": 1.0, "cache_read_input_token_cost": 0.5}
    assert rates_of({}, {}, None) == {}


def test_own_prices_knows_every_price_of_the_table():
    """Each field that cost_usd reads is seen as a price, and nothing else of an entry is."""
    entry = PriceTable.load().find("gpt-5")

    assert entry is not None
    assert set(own_prices(entry)) == {name for name in entry if "cost" in name}


counts = st.integers(0, 10**7)
usages = st.builds(
    Usage,
    prompt_tokens=counts,
    completion_tokens=counts,
    cached_tokens=counts,
    cache_creation_tokens=counts,
    reasoning_tokens=counts,
    audio_prompt_tokens=counts,
    audio_completion_tokens=counts,
    seconds=st.floats(0, 1e6),
    characters=counts,
    images=counts,
    queries=counts,
)
prices = st.one_of(st.floats(0, 100), st.floats(), st.none(), st.sampled_from(["1e-6", "-2", "nan", "x"]))
rates = st.dictionaries(
    st.sampled_from(
        [
            "input_cost_per_token",
            "output_cost_per_token",
            "cache_read_input_token_cost",
            "cache_creation_input_token_cost",
            "input_cost_per_audio_token",
            "output_cost_per_reasoning_token",
            "input_cost_per_token_above_128k_tokens",
            "input_cost_per_second",
            "input_cost_per_character",
            "input_cost_per_query",
            "output_cost_per_image",
        ]
    ),
    prices,
)


@pytest.mark.row("F-05")
@given(usages, rates, st.sampled_from(Operation))
def test_cost_is_never_negative(usage, book, operation):
    """Whatever is counted and whatever the prices say, a cost is None or at least zero."""
    cost = Prices(book).cost_usd(usage, operation)

    assert cost is None or cost >= 0


@pytest.mark.row("F-05")
@given(usages, counts, counts)
def test_cost_does_not_fall_when_more_is_used(usage, prompt, completion):
    """A longer prompt and a longer answer are not cheaper."""
    more = Usage(
        prompt_tokens=usage.prompt_tokens + prompt,
        completion_tokens=usage.completion_tokens + completion,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )
    less = Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )

    longer, shorter = (Prices(GPT_4O).cost_usd(each, CHAT) for each in (more, less))
    assert longer is not None
    assert shorter is not None
    assert longer >= shorter


@pytest.mark.parametrize(
    "rates",
    [
        {"input_cost_per_token": 1.0, "input_cost_per_token_above_1k_tokens": 3.0},
        {"tiered_pricing": [{"range": [0, 1000], "input_cost_per_token": 1.0},
                            {"range": [1000, 9000], "input_cost_per_token": 3.0}]},
    ],
)  # fmt: skip
def test_prices_that_were_read_once_hold_for_each_length_of_prompt(rates):
    """What a long prompt costs does not stick to the next short one."""
    prices = Prices(rates)

    costs = [prices.cost_usd(Usage(prompt_tokens=tokens), CHAT) for tokens in (10, 2000, 10, 2000, 99_000)]

    assert costs == [10.0, 6000.0, 10.0, 6000.0, 297_000.0]


def test_a_deployments_prices_are_read_once_and_anew_for_a_changed_copy():
    """A copy with other rates has its own."""
    first = deployment("a", rates={"input_cost_per_token": 1.0})
    second = replace(first, rates={"input_cost_per_token": 2.0})

    assert prices_of(first) is prices_of(first)
    assert [prices_of(each).cost_usd(Usage(prompt_tokens=3), CHAT) for each in (first, second)] == [3.0, 6.0]


plain_counts = st.integers(0, 10**6)
plain_rates = st.fixed_dictionaries(
    {"input_cost_per_token": st.floats(0, 1e-3), "output_cost_per_token": st.floats(0, 1e-3)}
)


@pytest.mark.row("F-05")
@given(plain_rates, plain_counts, plain_counts, plain_counts, plain_counts)
def test_two_answers_cost_what_one_of_both_would(rates, first_in, first_out, second_in, second_out):
    """At plain rates a cost is the sum of its parts, but for the rounding of each to a nano-dollar."""
    prices = Prices(rates)

    first, second = (
        prices.cost_nano(Usage(first_in, first_out), CHAT),
        prices.cost_nano(Usage(second_in, second_out), CHAT),
    )
    both = prices.cost_nano(Usage(first_in + second_in, first_out + second_out), CHAT)

    assert first is not None
    assert second is not None
    assert both is not None
    assert abs(first + second - both) <= 1


@pytest.mark.row("F-05")
@given(plain_rates, plain_counts, plain_counts)
def test_a_cost_is_the_exact_one_rounded_once(rates, prompt, completion):
    """The digits of the prices as they are written, times whole tokens."""
    exact = sum(
        Fraction(repr(rates[name])) * tokens
        for name, tokens in (("input_cost_per_token", prompt), ("output_cost_per_token", completion))
    )
    assume(all(rate == 0 or rate > 1e-18 for rate in rates.values()))  # what is finer is no price

    assert Prices(rates).cost_nano(Usage(prompt, completion), CHAT) == round(exact * 10**9)


book = st.fixed_dictionaries(
    {"input_cost_per_token": st.floats(0, 1e-3), "output_cost_per_token": st.floats(0, 1e-3)},
    optional={
        "cache_read_input_token_cost": st.floats(0, 1e-3),
        "cache_creation_input_token_cost": st.floats(0, 1e-3),
        "output_cost_per_reasoning_token": st.floats(0, 1e-3),
        "output_cost_per_audio_token": st.floats(0, 1e-3),
        "input_cost_per_token_above_200k_tokens": st.floats(0, 1e-3),
        "input_cost_per_token_priority": st.floats(0, 1e-3),
        "input_cost_per_request": st.floats(0, 1e-3),
    },
)


@pytest.mark.row("B-04")
@given(book, plain_counts, plain_counts, plain_counts, plain_counts, plain_counts, st.sampled_from(["", "priority"]))
def test_what_is_reserved_is_never_less_than_the_cost(rates, prompt, completion, created, thought, spoken, tier):
    """Of a prompt and an answer of that length at most, whatever parts they have."""
    assume(rates.get("cache_read_input_token_cost", 0) <= rates["input_cost_per_token"])
    usage = Usage(
        prompt,
        completion,
        cache_creation_tokens=created,
        reasoning_tokens=thought,
        audio_completion_tokens=spoken,
        tier=tier,
    )
    prices = Prices(rates)

    cost = prices.cost_nano(usage, CHAT)

    assert cost is not None
    assert prices.reserve_nano(prompt, completion, CHAT, asked=Usage(tier=tier)) >= cost


@pytest.mark.parametrize(
    ("operation", "rates", "asked", "nano"),
    [
        (CHAT, GPT_4O, None, 100 * 2500 + 10 * 10_000),
        (CHAT, {}, None, 0),
        (Operation.EMBEDDINGS, {"input_cost_per_token": 2e-08, "output_cost_per_token": 1.0}, None, 2000),
        (Operation.IMAGE_GENERATIONS, {"output_cost_per_image": 0.04}, Usage(images=2), 80_000_000),
        (Operation.SPEECH, {"input_cost_per_character": 1.5e-05}, Usage(characters=100), 1_500_000),
        (Operation.RERANK, {"input_cost_per_query": 0.002}, Usage(queries=1), 2_000_000),
        (CHAT, {**GPT_4O, "search_context_cost_per_query": {"search_context_size_low": 0.005}},
         Usage(searches=1, search_size="low"), 5_000_000 + 350_000),
        (CHAT, {"input_cost_per_request": 0.5}, None, 500_000_000),
    ],
)  # fmt: skip
def test_what_is_reserved_is_counted_in_the_unit_that_is_priced(operation, rates, asked, nano):
    """A hundred tokens asked and ten answered at most; pictures, characters and searches as they were asked for."""
    assert Prices(rates).reserve_nano(100, 10, operation, asked=asked) == nano
