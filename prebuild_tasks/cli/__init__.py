"""The `prebuild` command line. Each subcommand's module is imported when it is called."""
