"""Observability: Prometheus, Jaeger, a direct scrape, and a mock."""
