"""What stands in for the provider of a deployment that may not be asked: nothing is ever sent to it."""

from typing import NoReturn

from proxy_cli.errors import Unpriced
from proxy_cli.providers.base import StreamReader
from proxy_cli.shapes import Call, Deployment, Headers, PlainAnswer


class Refusing:
    """Answers every call with the deployment's `refusal`."""

    def prepare(self, call: Call, deployment: Deployment, *, ask_usage: bool) -> NoReturn:  # noqa: ARG002 - Provider's
        """Raise Unpriced with the sentence that says why."""
        raise Unpriced(deployment.refusal, param="model")

    def read(self, call: Call, deployment: Deployment, status: int, headers: Headers, body: bytes) -> PlainAnswer:
        """Never comes: nothing is sent."""
        raise AssertionError(f"{call.request_id}: {status} from {deployment.id}, {len(headers)}, {len(body)}")

    def stream_reader(self, call: Call, deployment: Deployment) -> StreamReader:
        """Never comes: nothing is sent."""
        raise AssertionError(f"{call.request_id}: a stream from {deployment.id}")

    def reply_headers(self, headers: Headers) -> Headers:
        """Of no reply."""
        return headers
