"""GitHub's JSON documents, made from the simulator's records; no operation builds one by hand."""
