"""The fleet behind LiteLLM's router: run by the Python of its own environment, `python -m bench.fleet_litellm`.

Its servers are a provider of LiteLLM's own kind for additions (`CustomLLM`), and its clock is the virtual one, so that
its pauses, cooldowns and timeouts are those of the simulation. Prints one JSON object.
"""

import argparse
import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from bench.fleet import SERVERS, Broken, Fleet, Full, Refused, crowd, told
from bench.virtual import run

_READ_S = 120.0  # the entries' timeout, and llmproxy's own gap between two events
_PIECE = {"text": "", "tool_use": None, "is_finished": False, "finish_reason": "", "usage": None, "index": 0}
_WORDS = [{"role": "user", "content": "Hi"}]


@contextlib.contextmanager
def _told(litellm: Any, model: str) -> Iterator[None]:
    """What a server does, as LiteLLM's errors."""
    about = {"llm_provider": "fake", "model": model}
    try:
        yield
    except Full:
        raise litellm.RateLimitError("full", **about) from None
    except Refused:
        raise litellm.APIConnectionError("refused", **about) from None
    except Broken:
        raise litellm.InternalServerError("broken", **about) from None
    except TimeoutError:
        raise litellm.Timeout("no more of it", **about) from None


def _provider(litellm: Any, fleet: Fleet) -> Any:
    """The servers as LiteLLM asks them."""

    class Servers(litellm.CustomLLM):  # type: ignore[misc]
        async def acompletion(self, model: str, *_: Any, **__: Any) -> Any:
            with _told(litellm, model):
                async for _number in _read(await fleet.open(model)):
                    pass
            return litellm.ModelResponse(
                model=model,
                choices=[{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
                usage={"prompt_tokens": 1, "completion_tokens": 20, "total_tokens": 21},
            )

        async def astreaming(self, model: str, *_: Any, **__: Any) -> Any:
            with _told(litellm, model):
                async for _number in _read(await fleet.open(model)):
                    yield {**_PIECE, "text": "x"}
            yield {**_PIECE, "is_finished": True, "finish_reason": "stop"}

    return Servers()


async def _read(events: AsyncIterator[int]) -> AsyncIterator[int]:
    """The events of a server, each within the read timeout that LiteLLM's HTTP client would have."""
    while True:
        try:
            yield await asyncio.wait_for(anext(events), _READ_S)
        except StopAsyncIteration:
            return


async def simulated(litellm: Any, strategy: str, callers: int, seconds: float, seed: int) -> dict[str, Any]:
    """One run."""
    fleet = Fleet(random.Random(seed))
    litellm.custom_provider_map = [{"provider": "fake", "custom_handler": _provider(litellm, fleet)}]
    entries = [{"model_name": "m", "litellm_params": {"model": f"fake/{name}", "timeout": _READ_S}} for name in SERVERS]
    router = litellm.Router(model_list=entries, routing_strategy=strategy)

    async def ask(streams: bool) -> AsyncIterator[object]:
        answer = await router.acompletion(model="m", messages=_WORDS, stream=streams)
        if not streams:
            return _nothing()
        first = await anext(answer)  # the caller's failure before the first event is no cut
        return _rest(first, answer)

    return told(await crowd(ask, callers=callers, seconds=seconds, seed=seed), fleet)


async def _nothing() -> AsyncIterator[object]:
    nothing: tuple[object, ...] = ()
    for each in nothing:
        yield each


async def _rest(first: object, answer: Any) -> AsyncIterator[object]:
    yield first
    async for each in answer:
        yield each


def main() -> None:
    """Run it with the clock turned."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--strategy", default="simple-shuffle")
    parser.add_argument("--callers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began_s = time.time()

    def now_s() -> float:
        try:
            return began_s + asyncio.get_running_loop().time()
        except RuntimeError:
            return began_s

    time.time = now_s
    import litellm  # type: ignore[import-not-found]  # noqa: PLC0415 - it takes the clock as it finds it

    litellm.suppress_debug_info = True
    print(json.dumps(run(simulated(litellm, given.strategy, given.callers, given.seconds, given.seed))))


if __name__ == "__main__":
    main()
