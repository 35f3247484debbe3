"""Floors made of psycopg, redis-py, kombu and Celery alone. Nothing here may import the product."""
