"""Read what is declared, and its revision."""
