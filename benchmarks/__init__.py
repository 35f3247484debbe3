"""Measurements against floors: what Celery, Redis and SQL cost by themselves for the same work, in the same run."""
