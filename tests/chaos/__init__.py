"""Chaos on real servers: `make chaos MINUTES=N`.

The driver (``run``) starts three RabbitMQ nodes, a PostgreSQL, orchestrators and
workers, each behind proxies of its own. ``load`` starts sagas all the time,
``faults`` break things and prove it, ``plan`` says which and when; ``judge`` knows
a ledger of effects and the sagas' records, and nothing of the engine.
"""
