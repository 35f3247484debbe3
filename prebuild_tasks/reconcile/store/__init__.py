"""Read the inputs of decisions, and write their results."""
