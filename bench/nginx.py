"""nginx in its two roles: a backend that answers at once, and the floor for any reverse proxy."""

import os
from pathlib import Path
from typing import Final

from bench.program import Launch

_REPLY: Final = (
    '{"id":"chatcmpl-6affe23b9f8d4426b84e6e7479af7110","object":"chat.completion","created":1715570147,'
    '"model":"vicuna-13b","choices":[{"index":0,"message":{"role":"assistant","content":"'
    + " ".join(["The quick brown fox jumps over the lazy dog."] * 4)
    + '"},"finish_reason":"stop"}],"usage":{"prompt_tokens":101,"completion_tokens":114,"total_tokens":215}}'
)

# Large enough for 8,000 streams at once (two connections each), and for a long prompt to stay in memory.
_FRAME: Final = """\
{user}worker_processes 1; worker_rlimit_nofile 40000; daemon off; error_log stderr crit; pid {folder}/{name}.pid;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600; tcp_nodelay on;
  client_max_body_size 0; client_body_buffer_size 1m;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
  {inside}
}}
"""

# The catch-all is for gateways that ask what a worker is before they use it.
_BACKEND: Final = """\
server {{ listen 127.0.0.1:{port} backlog=4096;
    location = /v1/chat/completions {{ default_type application/json; return 200 '{reply}'; }}
    location / {{ default_type application/json; return 200 '{other}'; }}
  }}"""
# `return` answers before a long body is here, which no model does: here the body is read whole, and then left behind.
_READING_BACKEND: Final = """\
upstream inner {{ server unix:{folder}/inner.sock; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen unix:{folder}/inner.sock backlog=4096;
    location / {{ default_type application/json; return 200 '{reply}'; }}
  }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://inner; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_pass_request_body off; proxy_set_header Content-Length "";
    }}
  }}"""
_OTHER: Final = '{"status":"ok","model_path":"vicuna-13b","data":[{"id":"vicuna-13b"}]}'

_PROXY: Final = """\
upstream backend {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s;
    }}
  }}"""


def backend(nginx: str, folder: Path, port: int) -> Launch:
    """A backend that answers every chat request with the same 460 bytes."""
    return _launch(nginx, folder, "instant", _BACKEND.format(port=port, reply=_REPLY, other=_OTHER))


def reading_backend(nginx: str, folder: Path, port: int) -> Launch:
    """The same for long requests: it answers when it has read all of one."""
    inside = _READING_BACKEND.format(folder=folder, port=port, reply=_REPLY)
    return _launch(nginx, folder, "reading", inside)


def proxy(nginx: str, folder: Path, port: int, backend: int) -> Launch:
    """`proxy_pass` with keep-alive on both sides, and nothing buffered."""
    return _launch(nginx, folder, "nginx", _PROXY.format(port=port, backend=backend))


def _launch(nginx: str, folder: Path, name: str, inside: str) -> Launch:
    config = folder / f"{name}.conf"
    # Started by root, its workers would be nobody's, who may not look into our folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    config.write_text(_FRAME.format(user=user, folder=folder, name=name, inside=inside), "utf-8")
    return Launch(argv=(nginx, "-p", str(folder), "-c", str(config)))
