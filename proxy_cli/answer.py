"""What a call comes to: a whole body or a stream, and the place at a deployment that it holds until its end.

Owns the place and the backend's reply; both are let go of by `close`, which comes always, and may come twice.
"""

import msgspec

from proxy_cli.errors import GatewayError
from proxy_cli.prices.meter import GpuMeter
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
    meter: GpuMeter | None = None  # of a server that is paid by the hour
    mark: int = 0  # what the meter said at the begin
    _borne_nano: int | None = None

    def borne_nano(self) -> int:
        """The call's part of the hours' price, which ends with this."""
        if self._borne_nano is None:
            self._borne_nano = 0 if self.meter is None else self.meter.end(self.mark)
        return self._borne_nano

    def leave(self) -> None:
        """The deployment has nothing to do for this call any more."""
        self.borne_nano()
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
