"""Declare pools: read a pools file, compare it with what is stored, write the difference; operate on pools."""
