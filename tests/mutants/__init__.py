"""Bugs that are planted on purpose: the simulation must find every one.

A simulation that finds nothing proves little until it is known what it would
find. Each mutant is a mistake that such engines have made; ``make mutants``
switches them on, one after the other, and says which seed caught which.
"""
