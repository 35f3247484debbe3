"""Explain the state of a pool, and what would remedy it."""
