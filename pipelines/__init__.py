"""Orchestration and agents: everything that runs without GitHub or an HTTP server."""
