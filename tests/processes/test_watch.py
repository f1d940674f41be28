"""Files that change."""

import asyncio

import pytest

from proxy_cli.processes.watch import Watch


async def notices(watch, *, within_s=0.2):
    """Whether a change is seen soon."""
    try:
        async with asyncio.timeout(within_s):
            await watch.change()
    except TimeoutError:
        return False
    return True


def written(file):
    file.write_text("other and longer")


def replaced(file):
    file.with_suffix(".new").write_text("new")
    file.with_suffix(".new").replace(file)


def removed(file):
    file.unlink()


@pytest.mark.parametrize("change", [written, replaced, removed])
async def test_watch_notices_what_editors_do(tmp_path, change):
    """Written in place, put in the old one's place, taken away: once each."""
    file = tmp_path / "config.yaml"
    file.write_text("one")
    watch = Watch(lambda: (file,), every_s=0.01)

    before = await notices(watch)
    change(file)

    assert (before, await notices(watch), await notices(watch)) == (False, True, False)


async def test_watch_notices_a_link_that_is_turned_over(tmp_path):
    """So do container platforms bring new files: the folder behind the name is another one."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("same")
    link = tmp_path / "data"
    link.symlink_to("first")
    watch = Watch(lambda: (link / "config.yaml",), every_s=0.01)

    link.unlink()
    link.symlink_to("second")

    assert await notices(watch)


async def test_watch_takes_further_files_without_a_word(tmp_path):
    """A file that is included from now on has not changed."""
    files = [tmp_path / "one.yaml"]
    files[0].write_text("one")
    watch = Watch(lambda: tuple(files), every_s=0.01)

    files.append(tmp_path / "two.yaml")
    files[1].write_text("two")
    added = await notices(watch)
    files[1].write_text("twenty")

    assert (added, await notices(watch)) == (False, True)
