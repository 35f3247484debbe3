"""The tables, what their columns mean in SQL, locks, history, counters and migrations."""
