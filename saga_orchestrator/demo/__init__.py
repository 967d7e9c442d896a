"""`saga demo`: sagas of a scenario with injected faults and a kill, then judged.

The parent (``driver``) starts sagas by key, kills and judges; the children
(``child``) hold engine, broker and handlers. Nothing here prints.
"""
