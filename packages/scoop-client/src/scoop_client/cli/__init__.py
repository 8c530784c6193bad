"""The command ``scoop``."""
