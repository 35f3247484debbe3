"""Explain why a pool is as it is, and what would remedy it."""
