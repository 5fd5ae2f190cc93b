"""The specialists: each takes a task and a context, and proposes findings and effects."""
