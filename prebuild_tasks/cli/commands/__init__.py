"""The commands of `prebuild`, a module per group of commands."""
