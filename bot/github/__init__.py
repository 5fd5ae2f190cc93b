"""GitHub: reading it, authenticating to it, and taking its answers for what they are."""
