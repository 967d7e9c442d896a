"""Fuzzing the HTTP API from its own description: `make fuzz CASES=5000`.

Schemathesis makes requests, valid and not, single and in sequences, from the live
OpenAPI document of a `saga serve` on SQLite, shows a key, and holds every answer
against the document: statuses, schemas, headers, and no server error.
"""
