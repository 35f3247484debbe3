"""Run under Celery: configuration, signal handlers, beat's scheduler, isolated builds, the check before Flower."""
