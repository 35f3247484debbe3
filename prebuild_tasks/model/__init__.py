"""The words of the field: vocabulary, names, durations, text."""
