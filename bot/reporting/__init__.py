"""What Conductor writes on GitHub; the only package that writes to a repository."""
