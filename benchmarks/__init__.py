"""What Conductor costs, measured: ``python -m benchmarks`` prints every table."""
