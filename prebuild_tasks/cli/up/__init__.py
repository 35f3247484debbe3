"""The command `up`, which runs the whole service on one machine."""
