"""How each deployment stands, from what is known already: nobody is asked anything here.

Three know something: whoever operates the proxy, the looks in the background, and the requests that were answered or
not. The first in this order who has a reason against a deployment names its state.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from proxy_cli.routing.fleet import Fleet, Operator, Probed
from proxy_cli.shapes import Deployment, Json

# What was found is known to all processes, what exactly was heard only to the one that looks.
_ILL: Final[Mapping[Probed, str]] = {
    Probed.DOWN: "it does not answer as it should; the log says how",
    Probed.LOADING: "it is loading its model",
    Probed.DRAINING: "it is about to end",
}


class Standing(NamedTuple):
    """How one deployment stands. What is not known to be ill counts as well."""

    state: str  # disabled, draining, down, loading, resting, busy, ready or unknown
    healthy: bool
    why: str = ""  # empty when it is healthy
    status: int = 200  # as a request's: of what is wrong


def standing(deployment: Deployment, fleet: Fleet, now_s: float) -> Standing:
    """How it stands now."""
    word, until_s = fleet.operator(deployment.id)
    if word is not Operator.ACTIVE:
        end = "until it is resumed" if until_s is None else f"for {spoken(until_s - now_s)} more"
        return Standing(str(word), False, f"taken out of use by hand, {end}", 503)
    probed, why = fleet.probed(deployment.id)
    if probed in _ILL:
        return Standing(str(probed), False, why or _ILL[probed], 503)
    state = fleet.state(deployment)
    if (rests_s := state.rests_s(now_s)) > 0:
        reason = f": {why}" if (why := state.why_it_rests) else ""
        return Standing("resting", False, f"rests for {spoken(rests_s)} more{reason}", 503)
    if probed is Probed.UNKNOWN and state.speed.samples > 0:
        return Standing(str(Probed.READY), True)  # it has answered requests, and nothing is known against it
    return Standing(str(probed), True)


def described(deployment: Deployment) -> dict[str, Json]:
    """Which deployment it is, as LiteLLM's health checks name one; no secret is in it."""
    return {
        "model": deployment.params.get("model", deployment.model),
        "model_name": deployment.group,
        "api_base": deployment.api_base or None,
        "model_id": deployment.id,
    }


def spoken(seconds: float) -> str:
    """A time as people say it, in its largest units."""
    whole = max(round(seconds), 1)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours >= 48:
        return f"{round(hours / 24)} days"
    return f"{hours} h {rest} min" if rest else f"{hours} h"
