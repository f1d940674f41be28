"""The keys that tokens are checked with: read from files and addresses, again when they are old or one is missing."""

import asyncio
import json

import pytest
from aiohttp import web

from proxy_cli.access.key_sets import KeySets, read_source
from proxy_cli.errors import Overloaded
from tests.access.test_callers import Turned


class Sources:
    """Sets of keys by source, which can be away; counts how often they were read."""

    def __init__(self, **sets):
        self.sets = sets
        self.reads = 0

    async def __call__(self, source):
        self.reads += 1
        if source not in self.sets:
            raise OSError("away")
        return json.dumps({"keys": [{"kid": kid} for kid in self.sets[source]]}).encode()


@pytest.fixture
def clock():
    """A clock that is turned by hand."""
    return Turned(now_s=1_000.0)


async def test_keys_of_all_sources_are_known_and_read_once(clock):
    """For as long as was set, however many ask at once."""
    sources = Sources(a=["1"], b=["2", "3"])
    sets = KeySets(["a", "b"], fetch=sources, clock=clock)

    found = await asyncio.gather(*(sets.with_id(kid) for kid in ("1", "2", "3", None)))
    clock.now_s += 599

    assert [len(each) for each in found] == [1, 1, 1, 3]
    assert await sets.with_id("1") == [{"kid": "1"}]
    assert sources.reads == 2


async def test_a_key_that_is_in_no_set_has_them_read_again_now_and_then(clock):
    """So that a new key is found at once, and made-up ones do not ask all the time."""
    sources = Sources(a=["old"])
    sets = KeySets(["a"], fetch=sources, clock=clock)
    await sets.with_id("old")
    sources.sets["a"] = ["old", "new"]

    for _ in range(5):
        assert await sets.with_id("new") == []
    clock.now_s += 30

    assert await sets.with_id("new") == [{"kid": "new"}]
    assert sources.reads == 2


async def test_while_a_source_is_away_what_it_said_holds_for_a_while(clock, caplog):
    """And then no longer; the log says which source it is."""
    sources = Sources(a=["1"])
    sets = KeySets(["a"], ttl_s=60, stale_s=300, fetch=sources, clock=clock)
    await sets.with_id("1")
    del sources.sets["a"]

    clock.now_s += 299
    assert await sets.with_id("1") == [{"kid": "1"}]
    clock.now_s += 60
    with pytest.raises(Overloaded) as caught:
        await sets.with_id("1")

    assert caught.value.code == "key_set_unavailable"
    assert "cannot be read from a: OSError" in caplog.text


@pytest.mark.parametrize("data", [b"", b"[]", b'{"keys": 3}', b"\xff"])
async def test_what_is_no_set_of_keys_is_none(clock, data):
    """Whatever a server answers."""

    async def fetch(_source):
        return data

    with pytest.raises(Overloaded):
        await KeySets(["a"], fetch=fetch, clock=clock).with_id("1")


async def test_a_set_is_read_from_a_file_and_from_an_address(tmp_path):
    """And an address that points elsewhere is not followed."""
    path = tmp_path / "keys.json"
    path.write_text('{"keys": [{"kid": "1"}]}')
    app = web.Application()

    async def keys(_request):
        return web.json_response({"keys": [{"kid": "2"}]})

    async def moved(_request):
        return web.Response(status=302, headers={"location": "/keys"})

    app.router.add_get("/keys", keys)
    app.router.add_get("/moved", moved)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        assert json.loads(await read_source(str(path)))["keys"] == [{"kid": "1"}]
        assert json.loads(await read_source(f"file://{path}"))["keys"] == [{"kid": "1"}]
        assert json.loads(await read_source(f"{origin}/keys"))["keys"] == [{"kid": "2"}]
        with pytest.raises(OSError, match="302"):
            await read_source(f"{origin}/moved")
    finally:
        await runner.cleanup()
