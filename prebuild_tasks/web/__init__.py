"""Web pages: the report with its charts."""
