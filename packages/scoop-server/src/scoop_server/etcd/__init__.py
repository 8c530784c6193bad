"""etcd as an ordered log: the port to a client of it, and the formats of all keys and values."""
