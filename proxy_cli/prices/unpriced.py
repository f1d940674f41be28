"""Models without a price: a budget cannot count them, so operators are told, and may have them refused.

`general_settings.unpriced: deny` (LiteLLM's `block_requests_for_models_without_pricing: true`) refuses calls for them;
`allow`, the default, answers them and counts nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from proxy_cli.shapes import Deployment

DENY: Final = "deny"
_SHOWN: Final = 10
_CURE: Final = "give it input_cost_per_token and output_cost_per_token, or gpu_hour_cost where the server is your own"


def is_denied(policy: str | None, blocks: bool | None) -> bool:
    """Whether such models are refused: by the policy, or where there is none by LiteLLM's word for it."""
    return bool(blocks) if policy is None else policy == DENY


def refusal(group: str) -> str:
    """Why a call for a model without a price is not sent."""
    return f"the price of {group} is not known, and models without a price are refused here; {_CURE}"


def names(deployments: Iterable[Deployment]) -> tuple[str, ...]:
    """The models of which some deployment has no price, in order."""
    return tuple(sorted({each.group for each in deployments if not each.rates and each.mock_response is None}))


def warning(found: Sequence[str], whose: str = "the budget does") -> tuple[str, ...]:
    """What is said of them where there are budgets: nothing, or one sentence."""
    if not found:
        return ()
    shown = ", ".join(found[:_SHOWN]) + (" and more" if len(found) > _SHOWN else "")
    said = (
        f"{whose} not count these models, whose price is not known: {shown}; "
        "give them input_cost_per_token and output_cost_per_token"
    )
    return (said,)
