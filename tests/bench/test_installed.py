"""What is installed: versions, packages, bytes."""

import proxy_cli
from bench.gateways import BY_NAME, DIRECT
from bench.installed import footprint, needed_by, version


def test_what_we_need_is_counted_without_the_tools_of_development():
    """Libraries of libraries count; test tools and extras do not."""
    names = {each.name.lower().replace("_", "-") for each in needed_by("llmproxy")}

    assert {"llmproxy", "aiohttp", "yarl", "click"} <= names
    assert not {"pytest", "mypy", "ruff", "gunicorn"} & names


def test_our_footprint_holds_our_own_files():
    """An editable installation has its files elsewhere; they count nevertheless."""
    found = footprint(BY_NAME["llmproxy"])

    assert found is not None
    assert 10 < found.packages < 100
    assert found.size_bytes > 1_000_000


def test_the_floor_and_the_backend_come_from_no_package_index():
    """They have no footprint to compare; ours has a version."""
    assert footprint(BY_NAME["nginx"]) is None
    assert version(DIRECT) is None
    assert version(BY_NAME["llmproxy"]) == proxy_cli.__version__
