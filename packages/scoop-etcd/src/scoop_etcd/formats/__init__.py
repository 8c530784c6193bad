"""The formats of all keys and values in etcd."""
