"""Delete rows that are past their retention period."""
