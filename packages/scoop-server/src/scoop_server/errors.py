"""The exceptions of the server."""
