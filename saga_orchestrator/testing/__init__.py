"""For tests: a clock that is moved by hand, a loop that lives in virtual time."""
