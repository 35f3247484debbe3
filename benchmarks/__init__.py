"""Measurements against floors: the same reads and writes without the product's code."""
