"""Processes that get SIGTERM at random moments, on real servers, while they work.

Nothing that was answered is done again, no attempt is used up, and each process
ends within its drain limit. ``python -m tests.drains --count 200``.
"""
