"""Decide what a pool needs, with pure functions over frozen data."""
