"""Load, latency, memory and start of llmproxy beside its peers: `python -m bench --help`, `python -m bench.hops`."""
