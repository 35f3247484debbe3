"""Code that runs in Celery's processes: configuration, signal handlers, beat's scheduler and isolated builds."""
