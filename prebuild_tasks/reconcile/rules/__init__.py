"""Decide what a pool needs: pure functions over frozen data."""
