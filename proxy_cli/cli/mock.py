"""`llmproxy mock`: a backend to try things with."""

from collections.abc import Mapping

import click

_INTRODUCTION = """A backend to try things with: deterministic answers, errors on request.

It speaks OpenAI's API on /v1 (chat, completions, responses, embeddings, moderations, images, speech, transcriptions,
rerank, models) and echoes the last user message. GET /mock/requests lists what it has seen, with each request that its
caller broke off; DELETE /mock/requests forgets.

A fault is asked for in a header (x-mock-status: 429), in a model name (mock-status-429), or, as a proxy passes neither
on, in the text of the message: [[mock status=429 retry_after=2]] or [[mock {"status": 429}]].
"""


def _controls() -> str:
    """The table of controls as the last part of the help page."""
    from proxy_cli.mock.faults import CONTROLS  # noqa: PLC0415 - commands import when they are named

    words = {name: f"{name}={row.value}" if row.value else name for name, row in CONTROLS.items()}
    width = max(len(word) for word in words.values())
    rows = [f"  {words[name]:<{width}}  {row.help}" for name, row in CONTROLS.items()]
    # \b keeps Click from joining the lines.
    return "\b\nControls:\n" + "\n".join(rows)


@click.command(help=_INTRODUCTION, epilog=_controls())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=20080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="A model to serve; none named: any name.")
@click.option("--delay", default=0.02, show_default=True, type=click.FloatRange(0), help="Seconds between two events.")
@click.option("--key", metavar="KEY", help="Answer 401 to callers without this key.")
@click.option(
    "--fault", "directive", metavar="TEXT", default="", help="Controls for every request: 'status=500 times=3'."
)
def mock(host: str, port: int, models: tuple[str, ...], delay: float, key: str | None, directive: str) -> None:
    """Serve until a signal comes."""
    import asyncio  # noqa: PLC0415 - --help stays quick

    from proxy_cli.mock.faults import BadControl, faults_of  # noqa: PLC0415
    from proxy_cli.mock.server import MockBackend, Options, serve_until_signal  # noqa: PLC0415

    try:
        faults = faults_of(directive)
    except BadControl as problem:
        raise click.BadParameter(str(problem), param_hint="--fault") from problem
    backend = MockBackend(Options(models=models, gap_s=delay, faults=faults, key=key))
    try:
        asyncio.run(serve_until_signal(backend, host, port, lambda bound: _announce(host, bound, models)))
    except OSError as problem:
        click.echo(f"cannot listen on {host}:{port}: {problem.strerror}; choose another with --port", err=True)
        raise SystemExit(1) from problem


def _announce(host: str, port: int, models: tuple[str, ...]) -> None:
    import json  # noqa: PLC0415 - as above

    shown = f"[{host}]" if ":" in host else host
    body: Mapping[str, object] = {
        "model": models[0] if models else "mock-model",
        "messages": [{"role": "user", "content": "こんにちは"}],
    }
    click.echo(f"mock backend on http://{shown}:{port}/v1; try:")
    click.echo(
        f"  curl http://{shown}:{port}/v1/chat/completions -H 'content-type: application/json' "
        f"-d '{json.dumps(body, ensure_ascii=False)}'"
    )
