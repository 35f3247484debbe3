"""Benchmarks against floors: the cost of the same work with Celery, Redis and SQL alone, in the same run."""
