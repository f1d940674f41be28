"""Copies of calls for another model, whose answers nobody sees: they are only put down, as requests of their own.

A copy is made when a deployment that has a mirror has answered, so that it delays nobody. It owns the copies under way
and bounds them: a mirror that is slower than the traffic misses some of it, which is counted.
"""

import asyncio
from dataclasses import replace
from random import Random
from typing import Final

import msgspec

from proxy_cli.accounts import Accounts
from proxy_cli.answer import Answer
from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError, forget_frames
from proxy_cli.gateway import Gateway
from proxy_cli.shapes import Account, Call, Controls, Deployment, Record
from proxy_cli.tasks import Tasks
from proxy_cli.telemetry.metrics import Metrics
from proxy_cli.telemetry.recorder import Recorder

ROUTE: Final = "mirror"
_MOST: Final = 100  # copies under way in one process
_LONGEST_S: Final = 600.0
_ALONE: Final = Controls(no_fallbacks=True)  # what a mirror says of itself is worth nothing if another one answers


class Mirrors:
    """Sends the copies."""

    def __init__(
        self,
        gateway: Gateway,
        recorder: Recorder,
        metrics: Metrics,
        *,
        clock: Clock,
        random: Random,
        accounts: Accounts | None = None,
    ) -> None:
        self._gateway = gateway
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._accounts = accounts
        self._tasks = Tasks()
        self.under_way = 0

    def copy(self, call: Call, deployment: Deployment) -> None:
        """Send a copy of a call that a deployment has answered, if its mirror is to have this one."""
        mirror = deployment.mirror
        if mirror is None or not isinstance(call.body, bytes) or self._random.random() * 100 >= mirror.percent:
            return
        if self.under_way >= _MOST:
            self._metrics.count("llmproxy_mirror_skipped_total")
            return
        self.under_way += 1
        now_s = self._clock()
        copied = msgspec.structs.replace(
            call,
            request_id=f"{call.request_id}-mirror",
            model=mirror.model,
            # What may not leave a region does not do so as a copy.
            controls=replace(_ALONE, present=call.controls.present, region=call.controls.region),
            received_s=now_s,
            account=None,
        )
        if self._accounts is not None:
            copied = self._accounts.mirrored(copied, call.request_id)
        record = Record(
            request_id=copied.request_id, route=ROUTE, model=mirror.model, stream=call.stream, started_s=now_s
        )
        self._tasks.spawn(self._sent(copied, record), "mirror")

    async def close(self) -> None:
        """End what is under way."""
        await self._tasks.close()

    async def _sent(self, call: Call, record: Record) -> None:
        answer: Answer | None = None
        try:
            async with asyncio.timeout(_LONGEST_S):
                answer = await self._gateway.answer(call)
                record.deployment, record.attempts, record.status = answer.deployment, answer.attempts, answer.status
                record.waited_s = answer.waited_s
                await self._read(answer, record, call.account)
        except GatewayError as failure:
            record.status, record.error, record.error_code = failure.status, failure.message, failure.code
            forget_frames(failure)
            if answer is not None:
                answer.failure = failure
        except TimeoutError:
            record.status, record.error = 504, f"the mirror took longer than {_LONGEST_S:g} s"
        finally:
            self.under_way -= 1
            if answer is not None:
                self._gateway.settle(call, answer, record)
                answer.close()
            if call.account is not None:
                call.account.close(record)
            record.ended_s = self._clock()
            self._recorder.add(record)

    async def _read(self, answer: Answer, record: Record, account: Account | None) -> None:
        """Take all of an answer, as a caller would, and throw it away, but for what is kept with its row."""
        if answer.relay is None:
            record.bytes_out = len(answer.body)
            if account is not None:
                account.keep(answer.body)
            return
        while data := await answer.relay.next():
            if record.first_byte_s is None:
                record.first_byte_s = self._clock()
            record.bytes_out += len(data)
            if account is not None:
                account.keep(data)
        record.delivered = True
