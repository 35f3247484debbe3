"""Examine an installation and say what is wrong and what to do."""
