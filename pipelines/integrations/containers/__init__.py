"""Containers: Docker, Kubernetes, bubblewrap, and a mock."""
