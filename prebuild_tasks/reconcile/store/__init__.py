"""Read what a decision needs, and write what it decided."""
