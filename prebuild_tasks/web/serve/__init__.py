"""The process that serves the HTTP API: its options, what stands before the routes, and how it ends."""
