"""The options and settings of the server, its limits and addresses."""
