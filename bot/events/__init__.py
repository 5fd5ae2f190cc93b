"""From a verified delivery to what it means: pure functions that never raise on any payload."""
