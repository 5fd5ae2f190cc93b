"""The least that could do the work: what an engine's own cost is measured against."""
