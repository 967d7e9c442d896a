"""The engine at work: it feeds events to the store and performs its decisions.

The data's way through the modules::

    start, operators ---------------------------+
    receiver -> handlers -> sink (local) -------+
    intake (saga.replies, saga.undelivered) ----+--> pipeline -> store.transact
    timers (store.due) -------------------------+        |
                                                         v after the commit
    broker <- publisher <- relay (store.claim)    waiters, timers, publisher
"""
