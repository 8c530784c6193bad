"""The command ``scoop-server``."""
