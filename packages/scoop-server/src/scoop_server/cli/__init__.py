"""The command ``scoop-server``: its command line, its commands, and their output."""
