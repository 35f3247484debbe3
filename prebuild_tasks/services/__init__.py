"""Gather, decide, apply: what tasks and commands call. No Celery import."""
