"""The index: the owner of the graph, which answers requests."""
