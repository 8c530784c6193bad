"""Settings, options, limits and addresses."""
