"""Options that contradict each other, or that mean nothing without another: a sentence, never a silent choice."""

from collections.abc import Iterator
from typing import Final

from proxy_cli.cli.options import Values

_INSTEAD: Final = ("setup", "validate_config", "health", "test")
_FOR_CLIENTS: Final = {
    "url": "--host and --port say where to listen",
    "key": "the key that callers need is LITELLM_MASTER_KEY, or general_settings.master_key of the file",
    "json": "litellm_settings.json_logs of the file makes the log JSON",
}
_THIS_MACHINE: Final = {"localhost", "::1", "[::1]"}


def disagreement(values: Values) -> str | None:
    """Why these options cannot be meant together, if they cannot."""
    return next(_disagreements({name: value for name, value in values.items() if value is not None}), None)


def idle(values: Values) -> Iterator[str]:
    """One line for each option that does nothing because of what is missing beside it."""
    jitter, limit = "max_requests_before_restart_jitter", "max_requests_before_restart"
    if values.get(jitter) is not None and values.get(limit) is None:
        yield f"--{jitter} does nothing: it adds to --{limit}, which is not given"
    if values.get("reload") is not None and values.get("config") is None:
        yield "--reload does nothing: it is about a file, and none is named with --config"


def _disagreements(given: Values) -> Iterator[str]:
    instead = [name for name in _INSTEAD if name in given]
    if len(instead) > 1:
        yield f"--{instead[0]} and --{instead[1]} are two commands; give one of them"
    if instead:
        return
    for name, cure in _FOR_CLIENTS.items():
        if name in given:
            yield f"--{name} belongs to --health and --test, and this line serves; {cure}"
    if "model" in given and "config" in given:
        yield "--model serves one model without a file, and --config names a file; leave one of them out"
    if "api_base" in given and "model" not in given:
        yield "--api_base is the address of the one model that --model names; a file has it in litellm_params"
    if "reload" in given and "run_gunicorn" in given:
        yield "--reload watches the file, which gunicorn does not let us do; send SIGHUP instead, or leave one out"
    if "local" in given and not _is_this_machine(given.get("host")):
        yield f"--local listens on this machine only, and --host names {given['host']}; leave one of them out"


def _is_this_machine(host: object) -> bool:
    return host is None or host in _THIS_MACHINE or str(host).startswith(("127.", "unix:"))
