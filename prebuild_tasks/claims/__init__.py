"""Give a ready prebuild to a person who asks for a workspace."""
