"""wrk as the closed-loop load: as many requests as a few connections can carry, counted by a script of our own."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.program import Request

_SCRIPT: Final = """\
wrk.method = "POST"
wrk.body = [==[{body}]==]
{headers}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{{"requests":%d,"duration_us":%d,"refused":%d,"broken":%d,"p50_us":%d,"p99_us":%d}}\\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a run of wrk counted."""

    requests: int
    duration_us: int
    refused: int  # answers outside 2xx and 3xx
    broken: int  # connections that failed, answers that did not come
    p50_us: int
    p99_us: int

    @property
    def fault(self) -> str | None:
        """Why the figures of this run are none."""
        if self.requests == 0:
            return "no request was answered"
        if self.refused:
            return f"{self.refused} of {self.requests} answers were no success"
        return f"{self.broken} connections failed" if self.broken else None


def script(request: Request, file: Path) -> Path:
    """The request as wrk wants it."""
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers.items())
    file.write_text(_SCRIPT.format(body=request.body.decode(), headers=headers), "utf-8")
    return file


def run(wrk: str, request: Request, port: int, folder: Path, *, connections: int, seconds: float) -> Tally:
    """Load a port for some seconds."""
    file = script(request, folder / "request.lua")
    argv = (wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(file))
    done = subprocess.run(
        [*argv, f"http://127.0.0.1:{port}{request.path}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 90,
    )
    return Tally(**json.loads(done.stdout.strip().splitlines()[-1]))
