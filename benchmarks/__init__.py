"""Measurements of the project: `make bench`, `make bench-peers`, `make bench-growth`.

They start private servers, as the tests do, and run `saga bench` on them. How to read
what they print is in ``docs/benchmarks.md``.
"""
