"""The only room that opens connections to backends: pool, HTTP/1.1 exchange, streams, TLS.

It refuses to decide: one request goes to the one backend it names, redirects are not followed, cookies are not kept,
and nothing is tried twice but for a kept connection that had died before a byte of the reply came.
"""
