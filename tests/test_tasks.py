import asyncio
import logging

from proxy_cli.tasks import Tasks


async def test_closing_ends_what_still_runs():
    """No task outlives its owner."""
    tasks = Tasks()
    task = tasks.spawn(asyncio.sleep(60), "sleeper")

    await tasks.close()

    assert task.cancelled()


async def test_a_task_that_fails_is_logged_once(caplog):
    """An exception that nobody awaits is still seen."""

    async def fail():
        raise ValueError("odd")

    tasks = Tasks()
    with caplog.at_level(logging.ERROR):
        task = tasks.spawn(fail(), "failing")
        await asyncio.wait([task])
        await asyncio.sleep(0)

    assert [record.getMessage() for record in caplog.records] == ["background task failing failed"]
