"""The `prebuild` command. Each command sits in a module of its own, imported when it is called."""
