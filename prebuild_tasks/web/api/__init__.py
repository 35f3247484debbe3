"""The HTTP API: routes over the domains' faces, with the typed views that the command line prints."""
