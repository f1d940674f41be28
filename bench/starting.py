"""Scenarios of the first second: time to the first answer, and how much has to be installed for it."""

import time

from bench.ground import Run, instant_backend, last_line, placed
from bench.installed import footprint
from bench.program import Unready


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
