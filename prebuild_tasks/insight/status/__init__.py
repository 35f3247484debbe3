"""Listings of pools, workspaces and builds."""
