"""The commands of the command line, by whether the search for secrets runs each of them."""

SEARCHED = frozenset({
    "status", "explain", "plan", "workspaces", "builds", "logs", "history", "events", "report", "audit", "sweep",
    "doctor", "health", "config", "db", "reconcile", "unblock", "pause", "resume", "forget", "versions",
})  # fmt: skip
"""Run with all their outputs searched, by `tests/e2e/test_secrets.py`."""
OTHERS = frozenset({
    "apply", "up", "claim", "release", "delete", "extend", "promote", "invalidate", "exporter", "decide",
    "adopt", "token", "serve", "login", "webhook",
})  # fmt: skip
"""Used by other steps of that test, or printing nothing of a pool's settings."""
