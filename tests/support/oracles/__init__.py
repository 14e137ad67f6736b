"""Oracles: the same values, computed in another way."""
