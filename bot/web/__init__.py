"""The HTTP surface: webhooks, health, metrics. It reads stores and writes only the inbox."""
