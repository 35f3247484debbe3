"""Which processes and hosts are alive."""
