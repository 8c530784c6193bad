"""The data directory: lock, journal, recovery and compaction."""
