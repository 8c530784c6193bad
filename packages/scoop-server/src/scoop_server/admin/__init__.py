"""The admin endpoint: probes and metrics over HTTP."""
