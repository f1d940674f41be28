"""Scenarios of the first second: time to the first answer, and how much has to be installed for it."""

import time
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement

from bench.gateways import PEERS, ROOT, Gateway
from bench.ground import Run, instant_backend, last_line, placed
from bench.program import Unready

_OF_THE_VENV: Final = {"pip", "setuptools", "wheel"}


class Footprint(NamedTuple):
    """What is installed for a gateway."""

    packages: int
    size_bytes: int


def start(run: Run) -> None:
    """From nothing to the first answer: seconds on the clock, and CPU of the whole tree."""
    with instant_backend(run) as backend:
        for _ in run.each_round("start"):
            for gateway in run.gateways:
                began_s = time.monotonic()
                try:
                    with placed(run, gateway, backend) as one:
                        run.results.add(gateway.name, "start_s", time.monotonic() - began_s)
                        run.results.add(gateway.name, "start_cpu_s", one.program.cpu_s())
                except Unready as error:
                    run.results.fault(gateway.name, "start_s", last_line(str(error)))
    for gateway in run.gateways:
        found = footprint(gateway)
        if found is not None:
            run.results.add(gateway.name, "packages", found.packages)
            run.results.add(gateway.name, "installed_mb", found.size_bytes / 1e6)


def footprint(gateway: Gateway) -> Footprint | None:
    """Packages and bytes that came from a package index; None for a program of the system."""
    if gateway.name == "llmproxy":
        return _of_python(needed_by("llmproxy"), extra_bytes=_source_bytes(ROOT / "proxy_cli"))
    folder = PEERS / gateway.name
    if (folder / "node_modules").is_dir():
        return _of_node(folder / "node_modules")
    sites = list(folder.glob("lib/python*/site-packages"))
    if not sites:
        return None
    found = distributions(path=[str(site) for site in sites])
    return _of_python([each for each in found if each.name not in _OF_THE_VENV])


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
