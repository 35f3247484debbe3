"""Recover from what messages, workers and hosts lost: sweep, probes, lost hosts, strays, retention."""
