"""Show what applying a pools file would change."""
