"""The application: open, run, reload and stop one server."""
