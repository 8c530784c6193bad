"""The client of etcd: the port between a node and etcd, and its implementation over gRPC."""
