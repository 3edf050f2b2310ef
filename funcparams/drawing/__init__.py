"""Drawing: from declarations to arrays, each from a key of its own name."""
