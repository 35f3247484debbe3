"""Change workspaces: create and end their builds, hand them over, release them."""
