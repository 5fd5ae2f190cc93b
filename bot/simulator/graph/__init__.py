"""GitHub's GraphQL API over the same records as REST: a schema, the nodes, the mutations."""
