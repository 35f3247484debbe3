"""Shared by the provisioners: configs, environments, output, files, processes and the mark of a claim."""
