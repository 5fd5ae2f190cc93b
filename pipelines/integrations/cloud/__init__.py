"""Clouds: AWS, Google Cloud, Azure, and a mock."""
