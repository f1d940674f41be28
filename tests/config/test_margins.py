"""Discounts and margins in a file."""

import pytest

from proxy_cli.config.load import load
from tests.config.test_load import write

MODELS = "model_list: [{model_name: a, litellm_params: {model: openai/a, api_key: k}}]\n"


def test_discounts_and_margins_are_read(tmp_path):
    """A part of the price, or a part and an amount."""
    file = write(
        tmp_path,
        f"{MODELS}litellm_settings:\n"
        "  cost_discount_config: {vertex_ai: 0.05}\n"
        "  cost_margin_config: {global: 0.1, openai: {percentage: 0.08, fixed_amount: 0.0005}}\n",
    )

    config = load(file, {}).config

    assert config is not None
    assert config.litellm_settings.cost_discount_config == {"vertex_ai": 0.05}
    assert config.litellm_settings.cost_margin_config == {
        "global": 0.1,
        "openai": {"percentage": 0.08, "fixed_amount": 0.0005},
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("cost_discount_config: {openai: 1.5}", "must be at most 1, got 1.5"),
        ("cost_discount_config: {openai: -0.1}", "must be at least 0, got -0.1"),
        ("cost_margin_config: {openai: much}", "expected a part of the price"),
        ("cost_margin_config: {openai: {percent: 0.1}}", "a margin has no 'percent'"),
        ("cost_margin_config: {openai: {fixed_amount: -1}}", "must be at least 0, got -1"),
    ],
)
def test_what_is_no_part_of_a_price_is_refused_with_its_place(tmp_path, settings, said):
    """Before anything is charged by it."""
    problems = load(write(tmp_path, f"{MODELS}litellm_settings:\n  {settings}\n"), {}).problems

    assert [said in str(each) and each.place.line == 3 for each in problems] == [True]
