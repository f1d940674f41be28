"""A program that serves through `workers.run` with a small server of its own: PORT COUNT LIMIT|- [fail] [gunicorn].

`/` answers with the process, `/slow` after half a second, `/forever` without an end, `/die` kills its process,
`/word` tells the process and the word of its configuration, `/reload` has all processes read it again.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from proxy_cli.processes import gunicorn_worker
from proxy_cli.processes.listen import open_listeners
from proxy_cli.processes.supervisor import run
from proxy_cli.processes.workers import Plan
from proxy_cli.server.reload import Renewal


class Word:
    """A configuration of one word: what the file WORD_FILE names holds; `bad` is refused."""

    def __init__(self):
        self.files = (Path(os.environ["WORD_FILE"]),) if "WORD_FILE" in os.environ else ()
        self.setup = self.read()

    def read(self):
        return self.files[0].read_text() if self.files else ""

    def renew(self):
        word = self.read()
        if word == "bad":
            return Renewal(False, ("word.txt:1:1: the word is bad; write another",))
        self.setup = word
        return Renewal(True)


class Small:
    """A server that counts, as the real one does."""

    def __init__(self, setup, ask):
        self.setup = setup
        self.ask = ask
        self.requests_served = 0
        app = web.Application()
        app.router.add_get("/", self.answer)
        app.router.add_get("/slow", self.answer_slowly)
        app.router.add_get("/forever", self.answer_forever)
        app.router.add_get("/die", self.die)
        app.router.add_get("/word", self.word)
        app.router.add_get("/reload", self.reload)
        self._runner = web.AppRunner(app, handle_signals=False)

    async def start(self, listener, tls):
        if "fail" in sys.argv:
            raise RuntimeError("no bread in the house")
        await self._runner.setup()
        await web.SockSite(self._runner, listener, ssl_context=tls).start()

    def take(self, setup):
        self.setup = setup

    async def stop(self, *, hurry):
        await self._runner.cleanup()

    async def answer(self, request):
        self.requests_served += 1
        return web.Response(text=str(os.getpid()))

    async def answer_slowly(self, request):
        await asyncio.sleep(0.5)
        return await self.answer(request)

    async def answer_forever(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await asyncio.sleep(1)

    async def word(self, request):
        return web.Response(text=f"{os.getpid()} {self.setup}")

    async def reload(self, request):
        renewal = await self.ask()
        return web.Response(text=f"{renewal.taken} {' '.join(renewal.lines)}")

    async def die(self, request):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    port, count, limit = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    under_gunicorn = "gunicorn" in sys.argv
    plan = Plan(
        make=Small,
        source=Word(),
        listeners=open_listeners("127.0.0.1", port, 1 if under_gunicorn else count),
        on_ready=lambda: print("ready", flush=True),
        back_off_s=float(os.environ.get("BACK_OFF_S", "0.5")),
        watches="watch" in sys.argv,
        max_requests=None if limit == "-" else int(limit),
    )
    sys.exit(gunicorn_worker.run(plan, count) if under_gunicorn else run(plan))
