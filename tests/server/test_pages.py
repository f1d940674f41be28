"""The pages for people: self-contained, escaped, and the script that draws the API document works."""

import json
import re
import subprocess
from html.parser import HTMLParser

import pytest

from proxy_cli.server.openapi import openapi
from proxy_cli.server.pages import docs, home
from proxy_cli.server.routes import ROUTES

NAMES = ["gpt-3.5-turbo", "日本語モデル"]
PAGES = [home(NAMES, "/v1", needs_key=False), home(NAMES, "/v1", needs_key=True), docs("/openapi.json")]


class Elements(HTMLParser):
    """What a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.script = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "br", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.script += data
        elif self.open[-1:] != ["style"]:
            self.text += data


@pytest.mark.parametrize("page", PAGES)
def test_page_is_whole_and_asks_no_other_host(page):
    """Every element is closed; nothing is loaded from anywhere; light and dark are both there."""
    elements = Elements(page)

    assert elements.open == []
    assert not [value for name, value in elements.attributes if name in {"src", "srcset"}]
    assert all((value or "").startswith("/") for name, value in elements.attributes if name == "href")
    assert not re.search(r"url\(|@import", page)
    assert "prefers-color-scheme: dark" in page


def test_home_says_how_to_call():
    """Base URL, curl and the Python client are shown, with a name that can be asked for."""
    text = Elements(PAGES[0]).text

    assert "http://localhost:4000/v1/chat/completions" in text
    assert 'base_url="http://localhost:4000/v1"' in text
    assert 'model="gpt-3.5-turbo"' in text
    assert all(name in text for name in NAMES)


def test_home_names_no_models_where_a_key_is_needed():
    """Whoever has no key learns no names, only that one is needed."""
    page = PAGES[1]

    assert not any(name in page for name in NAMES)
    assert "authorization: Bearer YOUR_KEY" in Elements(page).text


def test_home_stands_below_a_root_path():
    """Behind a prefix both the base URL and the links carry it."""
    page = home(NAMES, "/llm/v1", needs_key=False)

    assert "http://localhost:4000/llm/v1/chat/completions" in Elements(page).text
    assert '<a href="/llm/docs">' in page


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='x", "</pre>&amp;"]
)
def test_hostile_names_are_text(name):
    """Whatever a model is called, the page has the same elements as ever, and shows the name."""
    page = Elements(home([name], "/v1", needs_key=False))

    assert page.tags == Elements(home(["plain"], "/v1", needs_key=False)).tags
    assert name in page.text


def test_hostile_address_of_the_document_is_text():
    """The address of the document is escaped where it stands."""
    assert Elements(docs('/x"><script>')).tags == Elements(docs("/x")).tags


def test_long_list_of_names_is_cut():
    """Thousands of names do not make a page of megabytes."""
    page = home([f"m{number}" for number in range(5000)], "/v1", needs_key=False)

    assert "and 4800 more" in page
    assert page.count("<li>") == 200


# A page of the size that the script needs: elements hold their text and children.
BROWSER = """
const made = () => ({ children: [], textContent: "", dataset: { url: "/openapi.json" },
  append(child) { this.children.push(child); } });
const byId = {};
globalThis.document = { createElement: made, getElementById: (id) => byId[id] ??= made(), querySelectorAll: () => [] };
globalThis.fetch = async () => ({ ok: true, json: async () => JSON.parse(require("fs").readFileSync(0)) });
setTimeout(() => {
  const texts = (node) => [node.textContent, ...node.children.flatMap(texts)];
  console.log(JSON.stringify([byId.about.textContent, texts(byId.main)]));
}, 50);
"""


def test_script_of_the_docs_draws_every_route(require):
    """The script reads the document and shows each path, its summary and its fields."""
    document = json.dumps(openapi(ROUTES, version="1.2.3", server_root_path="/llm", needs_key=True))
    program = BROWSER + Elements(PAGES[2]).script
    run = subprocess.run([require("node"), "-e", program], input=document, capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr

    about, drawn = json.loads(run.stdout)
    assert "cannot be read" not in about
    assert {f"/llm{route.path_template}" for route in ROUTES} <= set(drawn)
    assert "messages *" in drawn
    assert "No key, or a wrong one." in drawn
