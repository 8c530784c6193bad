"""The application: open, run, reload, stop."""
