"""Errands: when they go on, what becomes of them when they wait for anything else, and how they end."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator

import pytest
import uvloop

from proxy_cli.errand import Errand, Pause

Work = Coroutine[object, None, None]


class Stage:
    """An event loop, and what was seen in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.seen: list[object] = []
        self.ends: list[type] = []
        self.failures: list[object] = []
        loop.set_exception_handler(lambda _, context: self.failures.append(context.get("exception", context)))

    def run(self, *steps: Callable[[], object], turns: int = 6) -> list[object]:
        """Call each step in a turn of the loop that is no task's, some turns apart; what was seen in the end."""

        def step(left: list[Callable[[], object]], rest: int) -> None:
            if rest:
                self.loop.call_soon(step, left, rest - 1)
            elif left:
                left[0]()
                self.loop.call_soon(step, left[1:], turns)
            else:
                self.loop.stop()

        self.loop.call_soon(step, list(steps), 0)
        self.loop.run_forever()
        return self.seen

    def errand(self, work: Work) -> Errand:
        """An errand that has not begun."""
        return Errand(work, self.loop, self.ended)

    def ended(self, error: BaseException | None) -> None:
        """An errand is over."""
        self.ends.append(type(error))

    def pause(self) -> Pause:
        """A pause."""
        return Pause(loop=self.loop)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def stage(request) -> Iterator[Stage]:
    """A stage on each event loop; nothing fails there unseen."""
    loop = request.param()
    yield (stage := Stage(loop))
    loop.close()
    assert not stage.failures


async def notes(seen: list[object], pause: asyncio.Future[None]) -> None:
    """Wait once, and tell what is seen before and after."""
    seen.append("begins")
    try:
        await pause
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise
    seen.append("goes on")


def test_errand_begins_at_once_and_goes_on_where_its_pause_is_ended(stage):
    """Neither takes a turn of the event loop."""
    pause = stage.pause()
    errand = stage.errand(notes(stage.seen, pause))

    def both() -> None:
        errand.go_on()
        stage.seen.append("waits")
        pause.end()
        stage.seen.append("over")

    assert stage.run(both) == ["begins", "waits", "goes on", "over"]


def test_pause_that_is_ended_soon_is_ended_in_a_turn_of_its_own(stage):
    """For who has not yet brought its own state in order."""
    pause = stage.pause()
    errand = stage.errand(notes(stage.seen, pause))

    def end() -> None:
        pause.end_soon()
        pause.end()
        pause.end_soon()
        stage.seen.append("told")

    assert stage.run(errand.go_on, end) == ["begins", "told", "goes on"]


@pytest.mark.parametrize("end", [Pause.end, Pause.end_soon])
def test_task_may_wait_at_a_pause_too(stage, end):
    """As for any future."""
    pause = stage.pause()

    stage.run(lambda: stage.loop.create_task(notes(stage.seen, pause)), lambda: end(pause))

    assert stage.seen == ["begins", "goes on"]


@pytest.mark.parametrize("delay_s", [0, 0.001])
def test_errand_that_waits_for_anything_else_goes_on_as_a_task(stage, delay_s):
    """With what it gets from there, to its end, and at pauses as before."""
    pause = stage.pause()

    async def work() -> None:
        stage.seen.append(await asyncio.sleep(delay_s, "slept"))
        stage.seen.append(asyncio.current_task() in asyncio.all_tasks())
        await notes(stage.seen, pause)
        await asyncio.sleep(0)
        stage.seen.append("ends")
        stage.loop.call_soon(pause.end)

    stage.run(stage.errand(work()).go_on, lambda: stage.loop.call_later(0.02, pause.end))
    stage.loop.run_until_complete(asyncio.sleep(0.04))

    assert stage.seen == ["slept", True, "begins", "goes on", "ends"]


@pytest.mark.parametrize("first", [False, True], ids=["at once", "after a pause"])
@pytest.mark.parametrize("asleep", [False, True], ids=["at a pause", "asleep"])
def test_time_limit_ends_the_wait_it_is_set_for(stage, first, asleep):
    """`asyncio.timeout` wants a task, and finds what stands in for one; wherever the errand waits."""
    pause, other = stage.pause(), stage.pause()

    async def work() -> None:
        if first:
            await pause
        try:
            async with asyncio.timeout(0.005):
                await (asyncio.sleep(5) if asleep else other)
        except TimeoutError:
            stage.seen.append("too late")
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        stage.seen.append("ends")

    stage.run(stage.errand(work()).go_on, pause.end)
    stage.loop.run_until_complete(asyncio.sleep(0.03))

    assert stage.seen == ["too late", "ends"]


def test_task_group_is_at_home_in_an_errand(stage):
    """A child that fails ends the others, and the errand sees the failure."""

    async def fail() -> None:
        raise LookupError

    async def work() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(5))
                group.create_task(fail())
        except* LookupError:
            stage.seen.append("failed")

    assert stage.run(stage.errand(work()).go_on, turns=20) == ["failed"]


def test_cancelled_errand_is_told_at_its_pause_in_a_turn_of_its_own(stage):
    """As a task would be; who ends it may have something to bring in order first."""
    errand = stage.errand(notes(stage.seen, stage.pause()))

    def cancel() -> None:
        errand.cancel()
        stage.seen.append("over")

    assert stage.run(errand.go_on, cancel) == ["begins", "over", "cancelled"]


def test_cancelled_errand_is_told_though_its_pause_was_ended_before(stage):
    """What would have carried it on does so, with the bad news."""
    pause = stage.pause()
    errand = stage.errand(notes(stage.seen, pause))

    def both() -> None:
        pause.end_soon()
        errand.cancel()

    assert stage.run(errand.go_on, both) == ["begins", "cancelled"]


def test_errand_that_is_cancelled_in_its_own_turn_is_told_where_it_waits_next(stage):
    """At a pause, or as the task that it becomes."""
    errands: list[Errand] = []

    async def work(wait: Callable[[], Coroutine[object, None, None] | Pause]) -> None:
        errands[-1].cancel()
        stage.seen.append("goes on")
        try:
            await wait()
        except asyncio.CancelledError:
            stage.seen.append("cancelled")
            raise

    def begin(wait: Callable[[], Coroutine[object, None, None] | Pause]) -> None:
        errands.append(stage.errand(work(wait)))
        errands[-1].go_on()

    stage.run(lambda: begin(stage.pause), lambda: begin(lambda: asyncio.sleep(5)))

    assert stage.seen == ["goes on", "cancelled"] * 2


def test_errand_that_became_a_task_is_cancelled_as_one(stage):
    """Also before that task had its first turn: what it waits for is cancelled with it."""
    children: list[asyncio.Task[None]] = []

    async def child() -> None:
        await notes(stage.seen, stage.loop.create_future())

    async def work() -> None:
        children.append(stage.loop.create_task(child()))
        await notes(stage.seen, children[-1])

    errands = [stage.errand(work()), stage.errand(work())]

    def both() -> None:
        errands[1].go_on()
        errands[1].cancel()

    stage.run(errands[0].go_on, errands[0].cancel, both)

    assert stage.seen == ["begins", "begins", "cancelled", "cancelled"] * 2
    assert all(child.cancelled() for child in children)


def test_errand_that_does_not_end_when_it_is_told_goes_on(stage):
    """As a task would; the word can be taken back."""
    first, second = stage.pause(), stage.pause()

    async def work() -> None:
        try:
            await first
        except asyncio.CancelledError:
            stage.seen.append(errand.cancelling())
            stage.seen.append(errand.uncancel())
        await notes(stage.seen, second)

    errand = stage.errand(work())

    assert stage.run(errand.go_on, errand.cancel, second.end) == [1, 0, "begins", "goes on"]


@pytest.mark.parametrize("waits", ["not", "at a pause", "asleep"])
@pytest.mark.parametrize("error", [None, LookupError, asyncio.CancelledError])
def test_end_of_an_errand_is_told_once_with_what_it_raised(stage, waits, error):
    """Nobody awaits it; and who ended its pause is not disturbed."""
    pause = stage.pause()

    async def work() -> None:
        if waits == "at a pause":
            await pause
        elif waits == "asleep":
            await asyncio.sleep(0)
        if error is not None:
            raise error

    def end() -> None:
        pause.end()
        stage.seen.append(errand.done())

    errand = stage.errand(work())
    stage.run(errand.go_on, end)

    assert stage.seen == [True]
    assert stage.ends == [type(None) if error is None else error]


def test_errand_is_never_carried_on_inside_a_task(stage):
    """There the current task is another: its turn comes next."""
    pause = stage.pause()

    async def inside() -> None:
        stage.errand(notes(stage.seen, pause)).go_on()
        stage.seen.append("made")
        await asyncio.sleep(0)
        pause.end()
        stage.seen.append("ended")

    stage.run(lambda: stage.loop.create_task(inside()))

    assert stage.seen == ["made", "begins", "ended", "goes on"]


def test_errand_leaves_nothing_behind_for_the_collector(stage):
    """Its pause knows it only as long as it waits there."""
    pause = stage.pause()
    errand = stage.errand(notes(stage.seen, pause))

    stage.run(errand.go_on, pause.end)

    assert not [name for name in ("_pause", "_task") if getattr(errand, name) is not None]
