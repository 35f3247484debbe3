"""Read and validate a pools file."""
