"""The decisions: pure functions over frozen data. `now` is always an argument."""
