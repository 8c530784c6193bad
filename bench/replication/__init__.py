"""The benchmark of replication over etcd: ``python -m bench.replication --help``.

A replicated node is compared with the same node on a data directory, with one transaction of etcd per request, and
with etcd alone. All programs share all processors, and the servers are loaded in alternating rounds of one run.
"""
