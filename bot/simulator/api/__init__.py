"""The REST and GraphQL operations, one module a subject, each with its table ``OPERATIONS``."""
