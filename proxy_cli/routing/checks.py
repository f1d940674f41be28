"""What is known before a call is sent: that a deployment will not take it.

Owns the checks of `enable_pre_call_checks`: the length of the prompt, and fields that a target is known to refuse; and
the region that a caller has asked for, which holds always.
Refuses to refuse on a guess: a call is turned down here only when its prompt alone is longer, with a margin, than any
deployment takes; where it is doubtful, the one with the largest window is asked, and the backend knows.
"""

from collections.abc import Sequence
from typing import Final

from proxy_cli.errors import InvalidRequest
from proxy_cli.routing.estimates import Prompt, answer_tokens, prompt
from proxy_cli.shapes import Call, Deployment

# Estimates are off by a fifth for most texts: a prompt that is longer than this part of a window may still fit.
_CERTAIN: Final = 1.25


def checked(call: Call, found: Sequence[Deployment], reasons: dict[str, str]) -> Sequence[Deployment]:
    """The deployments that may take a call; why not is put down in `reasons` for the others.

    Raises InvalidRequest (`context_length_exceeded`) when the prompt is too long for all of them.
    """
    fitting = _fitting(call, found, reasons)
    taking = [each for each in fitting if not (refused := _refused(call, each)) or _put_down(reasons, each, refused)]
    if taking:
        return taking
    # None takes the fields: whoever prepares the call says so better, with the names and the cure.
    for each in fitting:
        reasons.pop(each.id, None)
    return fitting


def in_region(call: Call, found: Sequence[Deployment], reasons: dict[str, str]) -> Sequence[Deployment]:
    """The deployments in the region that the caller allows; one whose region nobody knows is in none.

    Raises InvalidRequest when there is none: a prompt that may not leave a region is sent nowhere else.
    """
    inside = [each for each in found if is_inside(each, call.controls.region or "")]
    if not inside:
        known = (
            ", ".join(sorted({each.region for each in found if each.region})) or "none, as no entry has a region_name"
        )
        raise InvalidRequest(
            f"no deployment of '{call.model}' is in the region '{call.controls.region}': there are {known}",
            code="region_not_available",
            param="allowed_model_region",
        )
    kept = {each.id for each in inside}
    reasons.update((each.id, "it is in another region") for each in found if each.id not in kept)
    return inside


def is_inside(deployment: Deployment, region: str) -> bool:
    """Whether a deployment stands in a region: `eu` has `eu-west` in it."""
    return f"{deployment.region}-".casefold().startswith(f"{region.casefold()}-")


def _fitting(call: Call, found: Sequence[Deployment], reasons: dict[str, str]) -> Sequence[Deployment]:
    if all(each.window is None for each in found):
        return found
    size = prompt(call)
    answer = answer_tokens(call)
    fitting = []
    for each in found:
        needed = size.at(each) + answer
        if each.window is None or needed <= each.window:
            fitting.append(each)
        else:
            reasons[each.id] = f"about {needed} tokens are needed, its window has {each.window}"
    return fitting or _doubtful(call, size, found, reasons)


def _doubtful(call: Call, size: Prompt, found: Sequence[Deployment], reasons: dict[str, str]) -> list[Deployment]:
    """Those with the largest window, where the prompt may fit after all."""
    largest = max(each.window or 0 for each in found)
    doubtful = [each for each in found if each.window == largest and size.at(each) <= largest * _CERTAIN]
    if not doubtful:
        shortest = min(size.at(each) for each in found)
        raise InvalidRequest(
            f"the prompt has about {shortest} tokens, and '{call.model}' takes at most {largest}: "
            f"shorten it, or ask a model with a larger context window",
            code="context_length_exceeded",
            param="messages" if "messages" in call.fields else None,
        )
    for each in doubtful:
        reasons.pop(each.id, None)
    return doubtful


def _refused(call: Call, deployment: Deployment) -> str:
    """Which field of a call its target is known to refuse, in words; empty when it takes all or has them dropped."""
    drops = deployment.drop_params if call.controls.drop_params is None else call.controls.drop_params
    if drops:
        return ""
    refused = deployment.refuses
    if deployment.takes_tools is False:
        refused = refused | {"tools"}
    if not refused or refused.isdisjoint(call.fields):
        return ""
    if deployment.add_function_to_prompt:
        refused -= {"tools", "functions", "tool_choice", "function_call"}
    passed = deployment.allowed_openai_params.union(
        call.controls.allowed_openai_params, deployment.additional_drop_params, call.controls.additional_drop_params
    )
    names = sorted(name for name in (refused - passed).intersection(call.fields) if bytes(call.fields[name]) != b"null")
    return f"it is known not to take {', '.join(names)}" if names else ""


def _put_down(reasons: dict[str, str], deployment: Deployment, why: str) -> bool:
    """Note a reason; False, as the one who has it is out."""
    reasons[deployment.id] = why
    return False
