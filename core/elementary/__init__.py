"""Elementary functions on graph nodes: accurate compositions of primitives, each with its derivative."""
