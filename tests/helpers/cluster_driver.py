"""A driver of a run with stubs of worker processes, to be killed: SOURCE DESTINATION ADDRESS LOG."""

from __future__ import annotations

import sys

from genrescope.distributed import ActorOptions, ClusterOptions, classify_source, run
from helpers.cluster_handlers import create_stub

if __name__ == "__main__":
    source, destination, address, log = sys.argv[1:]
    run._FEW_BLOCKS = 0  # as in runs of very many files
    actor = ActorOptions(target=create_stub, storage_options={"log": log, "pause": 0.05})
    options = ClusterOptions(actor=actor, address=address, batch_rows=2, rows_per_file=2)
    done = classify_source(source, destination, options)
    print(f"rows {done.rows} failed {done.failed} known {done.known}")
