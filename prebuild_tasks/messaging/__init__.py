"""Send messages through Celery's broker, and reach Redis."""
