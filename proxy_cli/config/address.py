"""Addresses of backends: a base URL taken apart, strictly, and whether a host is one of one's own.

What is not plainly an http or https URL is refused with a sentence that names the slip; a password in it is never
repeated. There is no default host: an empty address is an error, never somebody else's server.
"""

import base64
import ipaddress
import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from proxy_cli.secret import Secret
from proxy_cli.shapes import Backend, Proxy

_URL = re.compile(r"(?P<scheme>[^:/?#]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>.*))?", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9.]+")
_PORTS: Final = {"http": 80, "https": 443}
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~-._"
_OWN_ENDINGS: Final = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".svc")


@lru_cache(maxsize=1024)
def parse_base(text: str) -> tuple[Backend, str]:
    """The backend and the path before its endpoints, without a slash at the end; a ValueError with a sentence."""
    if not text.strip():
        raise ValueError("the address is empty; write one such as http://localhost:8000/v1, or take the line out")
    if odd := next((letter for letter in text if letter.isspace() or not letter.isprintable()), None):
        raise ValueError(f"the address holds a blank or control character (U+{ord(odd):04X}); take it out")
    if "\\" in text:
        raise ValueError("the address holds a backslash; write / instead")
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(_without_scheme(text))
    _refuse_slips(text, match)
    scheme = match["scheme"].lower()
    if scheme not in _PORTS:
        raise ValueError(f"the scheme must be http or https, got '{scheme}' in {masked(text)}")
    if match["rest"]:
        what = "a fragment (#...)" if match["rest"].startswith("#") else "a query (?...)"
        version = _API_VERSION.search(match["rest"])
        aside = f", and write api_version: {version[1]} beside it" if version else ""
        raise ValueError(f"{what} has no place in a base address: {masked(text)}; take it out{aside}")
    host, port = _authority(match["authority"], text)
    path = quote(match["path"], safe=_PATH_SAFE).rstrip("/")
    return Backend(scheme, host, port if port is not None else _PORTS[scheme]), path


_PLAIN_PLACE: Final = re.compile(r"[a-z0-9.-]+(:\d+)?", re.IGNORECASE | re.ASCII)


def parse_proxy(text: str) -> Proxy:
    """The HTTP proxy at an address, which may hold user and password; a ValueError with a sentence."""
    scheme, mark, rest = text.partition("://")
    user, at, plain = rest.rpartition("@")
    if mark and scheme.lower() == "https":
        raise ValueError(f"a proxy is spoken to in plain HTTP, also for https backends; write http://{masked(plain)}")
    if mark and scheme.lower().startswith("socks"):
        raise ValueError("the address is of a SOCKS proxy; name an HTTP proxy, as http://host:3128")
    if not mark and _PLAIN_PLACE.fullmatch(place := text.rpartition("@")[2]):
        # What it lacks is told here, for another scheme will not do, and user and password may stay.
        given, user = (f": {text}", "") if place == text else ("", "user:password@")
        raise ValueError(f"the address has no scheme{given}; write http://{user}{place}")
    backend, path = parse_base(f"{scheme}{mark}{plain}")
    if path:
        raise ValueError(f"the address of a proxy has no path: {masked(text)}; end it after the port")
    if not at:
        return Proxy(backend.host, backend.port)
    name, colon, _ = user.partition(":")
    if not name or not colon or not user.isascii() or any(letter.isspace() for letter in user):
        raise ValueError(
            "before the @ belong user and password; write http://user:password@host:port, odd letters as %XX"
        )
    credentials = base64.b64encode(unquote_to_bytes(user)).decode("ascii")
    return Proxy(backend.host, backend.port, Secret(f"Basic {credentials}"))


def masked(text: str) -> str:
    """An address as it may stand in a message: user, password and query left out."""
    text = re.sub(r"//[^/]*@", "//***@", text)
    return re.sub(r"[?#].*", "", text, flags=re.DOTALL)


def is_own(host: str) -> bool:
    """Whether a host is likely one's own: loopback, private, `.local`, or a name without a dot."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith(_OWN_ENDINGS) or ".svc." in name
    return address.is_private or address.is_loopback or address.is_link_local or address in _SHARED


_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598: overlay networks such as Tailscale's


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on this host."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost") or name.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refuse_slips(text: str, match: re.Match[str]) -> None:
    """What has the shape of a URL and was meant otherwise."""
    if _TEMPLATE.search(text):
        cure = "write the address out, or put the whole of it into a variable: os.environ/NAME"
        raise ValueError(f"the address holds a template or variable, which is not filled in: {masked(text)}; {cure}")
    if match["authority"].lower() in ("http:", "https:"):
        raise ValueError(f"the scheme stands there twice: {masked(text)}; take one away")
    last = match["path"][-1:] or match["authority"][-1:]
    if last in tuple(",;\"'`>)") and not match["rest"]:
        raise ValueError(f"the address ends in {last}; take it out")
    if text[0] in "<\"'`(":
        raise ValueError(f"the address begins with {text[0]}; take it out")


_TEMPLATE: Final = re.compile(r"\$\w|\$?\{.*\}|os\.environ|://<")
_API_VERSION: Final = re.compile(r"[?&]api-version=([\w.-]+)")
_SCHEME_SLIP: Final = re.compile(r"(https?)[;:.]?[/\\]{1,3}(?=[^/\\])", re.IGNORECASE)


def _without_scheme(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    if "@" in text:
        return "the address has no scheme; begin it with http:// or https://, without user and password"
    if colon and scheme.lower() in _PORTS:
        return f"two slashes belong after {scheme}: in {masked(text)}; write {scheme}://{masked(rest.lstrip('/'))}"
    if (slip := _SCHEME_SLIP.match(text)) is not None:
        right = f"{slip[1]}://{text[slip.end() :]}"
        return f"the scheme is not written as {slip[1]}:// in {masked(text)}; write {masked(right)}"
    if colon and scheme.isalpha() and rest.startswith("/"):
        return f"the scheme must be http or https, got '{scheme}' in {masked(text)}"
    return f"the address has no scheme: {masked(text)}; write http://{masked(text)} or https://{masked(text)}"


def _authority(authority: str, text: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise ValueError(
            f"user and password have no place in the address {masked(text)}; use api_key, or extra_headers"
        )
    match = _AUTHORITY.fullmatch(authority)
    if match is not None and ":" in (match["port"] or "") and re.search("[g-z]", match["host"], re.IGNORECASE):
        raise ValueError(f"there are two ports in {masked(text)}; write one")
    if match is None or (match["port"] is not None and ":" in match["port"]):
        raise ValueError(f"an IPv6 address needs brackets, as http://[::1]:8000/v1; got {masked(text)}")
    return _host(match["host"], text), _port(match["port"], text)


def _host(host: str, text: str) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"not an IPv6 address: {host}") from None
    if not host:
        raise ValueError(f"the address has no host: {masked(text)}")
    name = host.lower() if host.isascii() else _punycode(host)
    if _NUMERIC.fullmatch(name):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise ValueError(f"not an IPv4 address: {host}") from None
    labels = name.removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) and len(label) <= 63 for label in labels):
        raise ValueError(f"'{host[:80]}' cannot be the name of a host")
    return name


def _punycode(host: str) -> str:
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        raise ValueError(f"'{host[:80]}' cannot be the name of a host") from None


def _port(port: str | None, text: str) -> int | None:
    if port is None:
        return None
    if port.isascii() and port.isdigit() and port.startswith("0") and len(port) > 1:
        raise ValueError(f"the port begins with a zero: {port[:12]} in {masked(text)}; write it without, or in full")
    if not (port.isascii() and port.isdigit()) or not 1 <= int(port[:6]) <= 65535:
        shown = port[:12] or "nothing"
        raise ValueError(f"the port must be a number from 1 to 65535, got {shown} in {masked(text)}")
    return int(port)
