"""A Ray cluster of two nodes on this machine, one of which a test kills."""

from contextlib import contextmanager

import pytest


@contextmanager
def two_nodes(monkeypatch):
    """Start a cluster that Ray finds by itself; yield what kills its second node."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"node_ip_address": "127.0.0.2", "num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    second = cluster.add_node(**node)
    try:
        yield lambda: cluster.remove_node(second, allow_graceful=False)
    finally:
        ray.shutdown()
        cluster.shutdown()
