"""Other engines, each used as its documentation says; they run in an environment of theirs."""
