"""The pages for people: what this server is and how to call it, and its API document made readable.

Each is one self-contained file: no font, script or image of another host, so it works offline; light and dark follow
the reader's system. Everything that comes from a config is escaped; the script of the document's page writes text
nodes only, never markup.
"""

import html
import json
import shlex
from collections.abc import Sequence
from string import Template
from typing import Final

from proxy_cli.server.openapi import RouteLike, openapi

__all__ = ["RouteLike", "docs", "home", "openapi"]

_SHOWN: Final = 200  # names on the page; GET /v1/models lists all
_ORIGIN: Final = "http://localhost:4000"

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --faint: #5d6878; --paper: #fbfbf9; --card: #fff; --line: #dfe3e8;
  --accent: #0b6e67; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --faint: #98a3b3; --paper: #14181e; --card: #1c222b; --line: #303946; --accent: #55c9bd; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 52rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, "Noto Sans CJK JP", "Hiragino Sans", sans-serif; }
h1 { margin: 0; font-size: 1.9rem; letter-spacing: -0.02em; }
h2 { margin: 2.2rem 0 0.6rem; font-size: 1.1rem; }
p { margin: 0.4rem 0; }
.faint { color: var(--faint); }
a { color: var(--accent); }
pre, details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
pre { padding: 0.9rem 1rem; overflow-x: auto; font-size: 0.87rem; line-height: 1.5; }
code, pre { font-family: ui-monospace, "Cascadia Mono", Menlo, monospace; }
ul.names { list-style: none; display: flex; flex-wrap: wrap; gap: 0.4rem; padding: 0; margin: 0; }
ul.names li { padding: 0.1rem 0.7rem; border: 1px solid var(--line); border-radius: 99px; background: var(--card);
  font-size: 0.9rem; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 1rem; }
details { margin: 0.4rem 0; padding: 0.5rem 0.9rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary b { display: inline-block; min-width: 3.6rem; color: var(--accent); font-size: 0.8rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
td { padding: 0.25rem 0.8rem 0.25rem 0; vertical-align: top; border-top: 1px solid var(--line); }
"""

_FRAME: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<style>$style</style>
</head>
<body>
$body
<script>$script</script>
</body>
</html>
""")

_HOME: Final = Template("""<header>
<h1>llmproxy</h1>
<p class="faint">Every model of this server behind one OpenAI-compatible address.</p>
</header>
<h2>Base URL</h2>
<pre><code><span class="origin">$origin</span>$base</code></pre>
<p class="faint">$key_note</p>
<h2>With curl</h2>
<pre><code>$curl</code></pre>
<h2>With the OpenAI library for Python</h2>
<pre><code>$python</code></pre>
$models
<h2>More</h2>
<nav>
<a href="$root/docs">The API, endpoint by endpoint</a>
<a href="$root/openapi.json">OpenAPI document</a>
<a href="$root/health/liveliness">Is it alive?</a>
</nav>""")

# Without this script the examples show an address that is only likely.
_HOME_SCRIPT: Final = """
for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
"""

_DOCS: Final = Template("""<header>
<h1 id="title">llmproxy</h1>
<p class="faint" id="about">Reading the API document&hellip;</p>
<nav><a href="$url">The document itself</a></nav>
</header>
<main id="main" data-url="$url"></main>
<noscript><p>This page is drawn by a script; the document itself can be read without one.</p></noscript>""")

_DOCS_SCRIPT: Final = """
"use strict";
const main = document.getElementById("main");
const make = (name, text, parent) => {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
};
const resolve = (doc, schema) => {
  const path = schema && schema.$ref ? schema.$ref.replace("#/", "").split("/") : null;
  return path ? path.reduce((place, step) => place[step], doc) : schema || {};
};
const kind = (doc, schema) => {
  const found = resolve(doc, schema);
  if (found.oneOf) return found.oneOf.map((each) => kind(doc, each)).join(" or ");
  if (found.enum) return found.enum.join(" | ");
  if (found.type === "array") return "list of " + kind(doc, found.items || {});
  return found.format === "binary" ? "file" : String(found.type || "any");
};
const table = (doc, schema, parent) => {
  const rows = make("table", undefined, parent);
  const needed = new Set(schema.required || []);
  for (const [name, field] of Object.entries(schema.properties || {})) {
    const row = make("tr", undefined, rows);
    make("code", name + (needed.has(name) ? " *" : ""), make("td", undefined, row));
    make("td", kind(doc, field), row);
    make("td", resolve(doc, field).description || "", row);
  }
};
const draw = (doc) => {
  const base = doc.servers && doc.servers[0].url !== "/" ? doc.servers[0].url : "";
  document.getElementById("title").textContent = doc.info.title + " " + doc.info.version;
  document.getElementById("about").textContent = doc.info.description + " Fields with * are needed.";
  for (const tag of doc.tags) {
    make("h2", tag.name, main);
    for (const [path, methods] of Object.entries(doc.paths)) {
      for (const [method, told] of Object.entries(methods)) {
        if (!told.tags.includes(tag.name)) continue;
        const box = make("details", undefined, main);
        const head = make("summary", undefined, box);
        make("b", method.toUpperCase(), head);
        make("code", base + path, head);
        make("p", told.summary + (told.security ? " (needs a key)" : ""), box);
        for (const [type, body] of Object.entries((told.requestBody || {}).content || {})) {
          make("p", "Body: " + type, box).className = "faint";
          table(doc, resolve(doc, body.schema), box);
        }
        make("p", "Answers", box).className = "faint";
        const answers = make("table", undefined, box);
        for (const [status, each] of Object.entries(told.responses)) {
          const answer = resolve(doc, each);
          const row = make("tr", undefined, answers);
          make("code", status, make("td", undefined, row));
          make("td", answer.description, row);
          make("td", Object.keys(answer.content || {}).join(", "), row);
        }
      }
    }
  }
};
fetch(main.dataset.url)
  .then((answer) => answer.ok ? answer.json() : Promise.reject(new Error("status " + answer.status)))
  .then(draw)
  .catch((error) => {
    document.getElementById("about").textContent = "The API document cannot be read: " + error.message;
  });
"""


def home(models: Sequence[str], base_url_path: str, needs_key: bool) -> str:
    """The page at `/`. `base_url_path` is the path of the API, `/v1`; names are shown only where no key is needed."""
    shown = [] if needs_key else list(models)
    name = next((model for model in shown if "*" not in model), "MODEL")
    key = "YOUR_KEY" if needs_key else "none"
    body = _HOME.substitute(
        origin=_ORIGIN,
        base=_escaped(base_url_path),
        root=_escaped(base_url_path.removesuffix("/v1")),
        key_note="A key is needed: put yours in place of YOUR_KEY." if needs_key else "No key is needed here.",
        curl=_with_origin(_curl(base_url_path, name, key if needs_key else None)),
        python=_with_origin(_python(base_url_path, name, key)),
        models=_names(shown),
    )
    return _page("llmproxy", body, _HOME_SCRIPT)


def docs(openapi_url: str) -> str:
    """The page that shows an OpenAPI document to people."""
    return _page("llmproxy: API", _DOCS.substitute(url=_escaped(openapi_url)), _DOCS_SCRIPT)


def _page(title: str, body: str, script: str) -> str:
    return _FRAME.substitute(title=title, style=_STYLE, body=body, script=script)


def _names(models: Sequence[str]) -> str:
    if not models:
        return ""
    items = "".join(f"<li><code>{_escaped(name)}</code></li>" for name in models[:_SHOWN])
    more = f'<p class="faint">and {len(models) - _SHOWN} more</p>' if len(models) > _SHOWN else ""
    return f'<h2>Models</h2>\n<ul class="names">{items}</ul>{more}'


def _curl(base: str, model: str, key: str | None) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello!"}]}, ensure_ascii=False)
    lines = [f"curl {_ORIGIN}{base}/chat/completions", "-H 'content-type: application/json'"]
    if key is not None:
        lines.append(f"-H 'authorization: Bearer {key}'")
    return " \\\n  ".join([*lines, f"-d {shlex.quote(body)}"])


def _python(base: str, model: str, key: str) -> str:
    return f"""from openai import OpenAI

client = OpenAI(base_url="{_ORIGIN}{base}", api_key="{key}")
answer = client.chat.completions.create(
    model={json.dumps(model, ensure_ascii=False)},
    messages=[{{"role": "user", "content": "Hello!"}}],
)
print(answer.choices[0].message.content)"""


def _with_origin(text: str) -> str:
    """The text escaped, the address in it marked so that the page can put its own there."""
    return _escaped(text).replace(_ORIGIN, f'<span class="origin">{_ORIGIN}</span>')


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
