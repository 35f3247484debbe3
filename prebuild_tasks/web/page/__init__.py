"""The page: pools, workspaces, builds and history in a browser, from the views that every face shows."""
