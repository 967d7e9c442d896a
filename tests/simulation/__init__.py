"""The engine in a simulated world, from a seed."""
