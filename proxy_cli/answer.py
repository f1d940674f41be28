"""What a call comes to: a whole body or a stream, and the place at a deployment that it holds until its end.

Owns the place and the backend's reply; both are let go of by `close`, which comes always, and may come twice.
"""

import msgspec

from proxy_cli.errors import GatewayError
from proxy_cli.relay import Relay
from proxy_cli.routing.fleet import State
from proxy_cli.routing.queue import Places
from proxy_cli.routing.turns import Attempts
from proxy_cli.shapes import Deployment, Headers, Usage


class Held(msgspec.Struct):
    """A deployment at work for one call. Owns its place there, until `leave`."""

    deployment: Deployment
    state: State
    trial: int
    places: Places

    def leave(self) -> None:
        """The deployment has nothing to do for this call any more."""
        self.state.end(self.trial)
        if self.deployment.is_limited:
            self.places.give_back(self.deployment)


class Answer(msgspec.Struct, kw_only=True):
    """What goes back to the caller: a whole body, or a relay that is pulled. Close it always."""

    status: int
    headers: Headers
    deployment: Deployment
    history: Attempts | None = None  # where it took more than one attempt
    waited_s: float  # for the backend: up to its whole answer, or to a stream's first bytes
    queued: tuple[int, float] | None = None  # the position in a deployment's queue, and the seconds in it
    body: bytes = b""
    relay: Relay | None = None
    plain_usage: Usage | None = None
    failure: GatewayError | None = None  # how a stream has ended that had begun
    held: Held | None = None

    @property
    def attempts(self) -> int:
        """How many deployments were asked for it, one of them perhaps several times."""
        return self.history.made if self.history else 1

    @property
    def usage(self) -> Usage | None:
        """What the backend has counted; for a stream it is complete at the end."""
        return self.relay.usage if self.relay else self.plain_usage

    @property
    def seen(self) -> tuple[int, int]:
        """How many pieces and bytes have come, for an answer whose usage nobody counts."""
        return self.relay.seen if self.relay else (1, len(self.body))

    def close(self) -> None:
        """Let go of the backend."""
        if self.relay:
            self.relay.close()
        if self.held is not None:
            self.held.leave()
            self.held = None
