"""Commands in comments: how they are written, who may give them, and what each does."""
