"""Prometheus metrics, read from the database."""
