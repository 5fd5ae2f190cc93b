"""The way to Redis or Valkey; the only room that imports its client."""
