"""The domain's vocabulary: enums, names, durations and text for people."""
