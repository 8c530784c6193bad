"""The index: who owns the graph, and how requests become replies."""
