"""The replicated index of :mod:`scoop_server`: nodes that apply one log of changes, which etcd keeps.

:mod:`~scoop_etcd.replication` is a node, :mod:`~scoop_etcd.client` the client of etcd, and :mod:`~scoop_etcd.formats`
holds the formats of all keys and values.
"""

__version__ = "0.1.0"
