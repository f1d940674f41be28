"""Who is compared: how each gateway is started in front of one backend, what it is asked, where it is installed.

Peers are found below build/peers/NAME, where `python -m bench.peers` puts them; one that is not there is left out.
"""

import contextlib
import http.client
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import nginx
from bench.machine import find_tools
from bench.program import Launch

ROOT: Final = Path(__file__).resolve().parent.parent
PEERS: Final = ROOT / "build" / "peers"
KEY: Final = "sk-bench-2f6b1c9ad04e7735c8e1"
PLAIN_HEADERS: Final = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
VIRTUAL_KEY: Final = "sk-bench-virtual-7d1e5b0c93a84f62"
# What a key has that was handed out: a budget and limits, none of which the load can reach.
VIRTUAL_LIMITS: Final = {"max_budget": 1e6, "rpm_limit": 10**9, "tpm_limit": 10**12, "max_parallel_requests": 10**6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a gateway is to stand."""

    folder: Path
    port: int
    side_port: int  # for gateways that serve their metrics apart
    backend: int
    workers: int = 1


def _plain_headers(_backend: int) -> Mapping[str, str]:
    return PLAIN_HEADERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One contestant."""

    name: str
    what: str
    launch: Callable[[Place], Launch]
    is_installed: Callable[[], bool]
    headers: Callable[[int], Mapping[str, str]] = _plain_headers
    start_within_s: float = 20.0
    scales: bool = False  # knows a number of worker processes
    prepare: Callable[[int], None] | None = None  # told the port once it serves with the master key


# The model list, key and prices that a small team runs with.
_MODELS: Final = {
    "gpt-3.5-turbo": "openai/vicuna-13b",
    "vicuna-13b": "openai/vicuna-13b",
    "karakuri-8x7b": "openai/karakuri-8x7b",
    "karakuri-70b": "openai/karakuri-70b",
    "local-*": "openai/*",
}


def model_list(backend: int) -> list[dict[str, object]]:
    """Entries in LiteLLM's format; all lead to one backend."""
    return [
        {
            "model_name": name,
            "litellm_params": {
                "model": model,
                "api_base": f"http://127.0.0.1:{backend}/v1",
                "api_key": "sk-backend-0123456789",
                "input_cost_per_token": 5e-7,
                "output_cost_per_token": 1.5e-6,
            },
        }
        for name, model in _MODELS.items()
    ]


def write_config(place: Place, name: str, **general: object) -> Path:
    """A configuration file; JSON is YAML."""
    config = {"model_list": model_list(place.backend), "general_settings": {"master_key": KEY, **general}}
    file = place.folder / f"{name}-{place.port}.yaml"
    file.write_text(json.dumps(config, indent=1), "utf-8")
    file.chmod(0o600)
    return file


def _nginx(place: Place) -> Launch:
    return nginx.proxy(find_tools(["nginx"])["nginx"], place.folder, place.port, place.backend)


def llmproxy_arguments(place: Place) -> list[str]:
    """With all that is on for users: master key, routing, prices, metrics, and the request log in a file."""
    config = write_config(place, "llmproxy")
    return [f"--config={config}", "--host=127.0.0.1", f"--port={place.port}", f"--num_workers={place.workers}"]


def _llmproxy(place: Place) -> Launch:
    argv = (sys.executable, "-m", "proxy_cli", *llmproxy_arguments(place))
    return Launch(argv=argv, environ=llmproxy_environ(place))


def llmproxy_environ(place: Place) -> Mapping[str, str]:
    """Settings and data of its own."""
    data = place.folder / f"data-{place.port}"
    return {"PYTHONPATH": str(ROOT), "LLMPROXY_CONFIG_DIR": str(place.folder), "LLMPROXY_DATA_DIR": str(data)}


def _virtual_headers(_backend: int) -> Mapping[str, str]:
    return {**PLAIN_HEADERS, "Authorization": f"Bearer {VIRTUAL_KEY}"}


def make_key(port: int) -> None:
    """Have llmproxy hand out the key that it is asked with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        body = json.dumps({"key": VIRTUAL_KEY, "key_alias": "bench", **VIRTUAL_LIMITS})
        connection.request("POST", "/key/generate", body, PLAIN_HEADERS)
        reply = connection.getresponse()
        if reply.status != 200:
            raise AssertionError(f"no key was made: {reply.status} {reply.read()[:300]!r}")


def _litellm(place: Place) -> Launch:
    argv = [str(PEERS / "litellm/bin/litellm"), "--config", str(write_config(place, "litellm"))]
    argv += ["--host", "127.0.0.1", "--port", str(place.port), "--num_workers", str(place.workers)]
    # Nothing outside this machine is asked, and the log is as short as in production.
    return Launch(argv=argv, environ={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"})


def _vllm_router(place: Place) -> Launch:
    argv = [str(PEERS / "vllm-router/bin/vllm-router"), "--worker-urls", f"http://127.0.0.1:{place.backend}"]
    argv += ["--host", "127.0.0.1", "--port", str(place.port), "--policy", "round_robin"]
    argv += ["--prometheus-port", str(place.side_port)]
    return Launch(argv=argv)


def _sglang_router(place: Place) -> Launch:
    argv = [str(PEERS / "sglang-router/bin/python"), "-m", "sglang_router.launch_router"]
    argv += ["--worker-urls", f"http://127.0.0.1:{place.backend}", "--policy", "round_robin"]
    argv += ["--host", "127.0.0.1", "--port", str(place.port)]
    argv += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(place.side_port)]
    return Launch(argv=argv)


def _portkey(place: Place) -> Launch:
    script = PEERS / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    node = find_tools(["node"])["node"]
    return Launch(argv=(node, str(script), f"--port={place.port}", "--headless"), environ={"NODE_ENV": "production"})


def _portkey_headers(backend: int) -> Mapping[str, str]:
    custom = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{backend}/v1"}
    return {**PLAIN_HEADERS, **custom}


def _exists(path: str) -> Callable[[], bool]:
    return (PEERS / path).exists


def _nothing(_place: Place) -> Launch:
    raise AssertionError("the backend itself is asked: there is nothing to start")


# The backend without a gateway, as what latencies are compared with.
DIRECT: Final = Gateway(name="direct", what="the backend itself", launch=_nothing, is_installed=lambda: True)

GATEWAYS: Final = (
    Gateway(name="nginx", what="proxy_pass, the floor", launch=_nginx, is_installed=lambda: True),
    Gateway(
        name="llmproxy",
        what="key with budget and limits, ledger, routes, prices, metrics, log",
        launch=_llmproxy,
        is_installed=lambda: True,
        headers=_virtual_headers,
        scales=True,
        prepare=make_key,
    ),
    Gateway(
        name="vllm-router",
        what="Rust; no keys",
        launch=_vllm_router,
        is_installed=_exists("vllm-router/bin/vllm-router"),
        start_within_s=60,
    ),
    Gateway(
        name="sglang-router",
        what="Rust; no keys",
        launch=_sglang_router,
        is_installed=_exists("sglang-router/bin/python"),
        start_within_s=60,
    ),
    Gateway(
        name="portkey",
        what="Node; no keys",
        launch=_portkey,
        is_installed=_exists("portkey/node_modules/@portkey-ai/gateway/build/start-server.js"),
        headers=_portkey_headers,
        start_within_s=60,
    ),
    Gateway(
        name="litellm",
        what="Python; master key",
        launch=_litellm,
        is_installed=_exists("litellm/bin/litellm"),
        scales=True,
        start_within_s=180,
    ),
)
BY_NAME: Final = {gateway.name: gateway for gateway in GATEWAYS}
