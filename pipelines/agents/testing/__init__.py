"""The test agent: runs base and head in the sandbox, and writes tests that prove themselves."""
