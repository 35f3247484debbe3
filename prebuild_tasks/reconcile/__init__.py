"""Drive pools to their desired size: the tick and a preset's turn."""
