"""What is installed for a gateway: its version, how many packages, how many bytes."""

import json
import re
import subprocess
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement

import proxy_cli
from bench.gateways import PEERS, ROOT, Gateway
from bench.machine import find_tools

_OF_THE_VENV: Final = {"pip", "setuptools", "wheel"}
_NODE_PACKAGES: Final = {"portkey": "@portkey-ai/gateway"}


class Footprint(NamedTuple):
    """Packages and bytes that came from a package index."""

    packages: int
    size_bytes: int


def version(gateway: Gateway) -> str | None:
    """What is compared; None for the backend itself."""
    if gateway.name == "llmproxy":
        return proxy_cli.__version__
    if gateway.name == "nginx":
        said = subprocess.run([find_tools(["nginx"])["nginx"], "-v"], capture_output=True, text=True, check=True)
        found = re.search(r"nginx/(\S+)", said.stderr)
        return found[1] if found else None
    if gateway.name in _NODE_PACKAGES:
        file = PEERS / gateway.name / "node_modules" / _NODE_PACKAGES[gateway.name] / "package.json"
        return str(json.loads(file.read_text("utf-8"))["version"]) if file.exists() else None
    return next((each.version for each in _of_venv(gateway.name) if _plain(each.name) == gateway.name), None)


def footprint(gateway: Gateway) -> Footprint | None:
    """Packages and bytes that came from a package index; None for a program of the system."""
    if gateway.name == "llmproxy":
        return _of_python(needed_by("llmproxy"), extra_bytes=_source_bytes(ROOT / "proxy_cli"))
    modules = PEERS / gateway.name / "node_modules"
    if modules.is_dir():
        return _of_node(modules)
    found = _of_venv(gateway.name)
    return _of_python(found) if found else None


def _of_venv(name: str) -> list[Distribution]:
    """What was installed into a peer's environment."""
    sites = [str(site) for site in (PEERS / name).glob("lib/python*/site-packages")]
    return [each for each in distributions(path=sites) if each.name not in _OF_THE_VENV] if sites else []


def needed_by(name: str) -> list[Distribution]:
    """A distribution of this environment and all that it requires, without extras and tools for development."""
    known = {_plain(each.name): each for each in distributions()}
    wanted, found = [_plain(name)], dict[str, Distribution]()
    while wanted:
        one = wanted.pop()
        if one in found or one not in known:
            continue
        found[one] = known[one]
        for line in known[one].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(_plain(requirement.name))
    return list(found.values())


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _of_python(found: list[Distribution], extra_bytes: int = 0) -> Footprint:
    paths = {Path(str(file.locate())) for each in found for file in each.files or () if file.suffix != ".pyc"}
    return Footprint(len(found), sum(path.stat().st_size for path in paths if path.is_file()) + extra_bytes)


def _source_bytes(folder: Path) -> int:
    """Bytes of a package that is run from its checkout, without what Python made of it."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return sum(file.stat().st_size for file in files)


def _of_node(folder: Path) -> Footprint:
    packages = {*folder.glob("**/node_modules/*/package.json"), *folder.glob("**/node_modules/@*/*/package.json")}
    packages |= {*folder.glob("*/package.json"), *folder.glob("@*/*/package.json")}
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return Footprint(len(packages), sum(file.stat().st_size for file in files))
