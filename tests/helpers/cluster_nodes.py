"""A Ray cluster of three nodes on this machine, run as a program: prints its address, then obeys lines.

``remove`` kills a node that is not the head; the end of the input ends all of them.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

_MEGABYTES = 100 * 2**20


def main() -> None:
    """Start the nodes, and do what standard input says."""
    head = {"num_cpus": 1, "object_store_memory": _MEGABYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    others = [cluster.add_node(num_cpus=1, object_store_memory=_MEGABYTES, wait=False) for _ in range(2)]
    try:
        print(f"address {cluster.address}", flush=True)
        for line in sys.stdin:
            if line.strip() == "remove":
                cluster.remove_node(others.pop(), allow_graceful=False)
                print("removed", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
