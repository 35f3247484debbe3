"""The page of pools, live, for browsers."""
