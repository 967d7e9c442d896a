"""The HTTP API: a face on the manager. ``app.py`` assembles it.

Nothing is imported here: the command line takes ``documents`` from this room, and
must not pay for a web framework.
"""
