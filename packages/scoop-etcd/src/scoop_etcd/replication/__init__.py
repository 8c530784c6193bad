"""The index of a node: a replica of a graph whose changes are ordered by an entry log in etcd."""
