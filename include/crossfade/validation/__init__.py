"""Comparing values: every row of every table, on a live pair, naming what differs by its key."""
