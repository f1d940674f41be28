"""Models whose price is not known."""

from dataclasses import replace

import pytest

from proxy_cli.prices.unpriced import is_denied, names, refusal, warning
from tests.routing.test_table import deployment


@pytest.mark.parametrize(
    ("policy", "blocks", "denied"),
    [
        (None, None, False),
        (None, True, True),
        (None, False, False),
        ("allow", True, False),
        ("deny", None, True),
        ("deny", False, True),
    ],
)
def test_the_policy_goes_before_litellms_word_for_it(policy, blocks, denied):
    """Where both are set, the one that is ours."""
    assert is_denied(policy, blocks) is denied


@pytest.mark.row("C-64")
def test_models_without_a_price_are_named():
    """Not those that are priced, and not those that are answered without a backend."""
    found = [
        deployment("b"),
        deployment("a"),
        replace(deployment("c"), rates={"gpu_hour_cost": 1.0}),
        replace(deployment("d"), mock_response="hi"),
    ]

    assert names(found) == tuple(sorted({found[0].group, found[1].group}))
    assert warning(()) == ()
    assert warning(("x", "y"))[0].startswith("the budget does not count these models, whose price is not known: x, y; ")
    assert "n9 and more" in warning([f"n{number}" for number in range(12)])[0]


def test_a_refusal_says_which_model_and_what_to_do():
    """One sentence."""
    assert refusal("vicuna").startswith(
        "the price of vicuna is not known, and models without a price are refused here; "
    )
