"""Report hit rate, cold starts, time to ready and cost over a period."""
