"""Find and remove resources that no workspace knows of."""
