"""The pure core: what a saga is and how it moves. No input or output here.

Start at ``decide.py``: ``decide(saga, event, now) -> Decision`` is the whole
engine. ``states.py`` has the machines, ``definition.py`` what a user writes,
``commands.py`` what is sent.
"""
