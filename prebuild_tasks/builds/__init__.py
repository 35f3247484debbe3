"""Run builds: take one, hold its lease, call the provisioner, end it."""
