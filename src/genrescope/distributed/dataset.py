"""A Ray dataset of paths, classified by a pool of actors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genrescope.distributed.actor import ActorOptions, GenreActor
from genrescope.errors import missing_extra

if TYPE_CHECKING:
    import ray.data

# Rows of a call of an actor. Ray starts a batch when it is full, so that the last batches of a run, which
# leave actors idle, should be short; a call has an overhead of milliseconds, a file takes a hundred of them.
BATCH_ROWS = 32
# Bytes of a block. Rows have about 2 KiB; with Ray's default of 128 MiB, which is meant for arrays, its
# scheduler reserves so much memory for every task that a small machine can run none.
_BLOCK_BYTES = 2**22


def configure_data() -> None:
    """Set what Ray Data assumes of the size of blocks.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: Ray is not installed.
    """
    try:
        from ray.data import DataContext
    except ImportError:
        raise missing_extra("ray", "ray[data]") from None
    context = DataContext.get_current()
    context.target_max_block_size = _BLOCK_BYTES
    context.target_min_block_size = 0


def classify_dataset(
    dataset: ray.data.Dataset,
    options: ActorOptions | None = None,
    *,
    concurrency: int | tuple[int, int] = 1,
    num_cpus: float | None = None,
    num_gpus: float = 0.0,
    batch_rows: int = BATCH_ROWS,
) -> ray.data.Dataset:
    """Classify the files of a dataset, lazily: nothing is run until the result is used.

    Parameters
    ----------
    dataset : ray.data.Dataset
        With a column ``path``: local paths that every machine has, or addresses that fsspec knows.
    options : ActorOptions, optional
        How to classify.
    concurrency : int or tuple of int
        How many actors; or the fewest and the most, between which Ray decides.
    num_cpus : float, optional
        Cores that Ray reserves for each actor; None: one for each of its worker processes.
    num_gpus : float
        Share of a GPU that Ray reserves for each actor, which uses it by ``ActorOptions(device="cuda")``.
    batch_rows : int
        Files of a call of an actor.

    Returns
    -------
    ray.data.Dataset
        One row for each path, with the columns of `genrescope.library.parquet_schema`; a file that cannot be
        classified has a row with the error.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: Ray is not installed.

    Examples
    --------
    >>> import ray
    >>> rows = classify_dataset(ray.data.read_parquet("tracks.parquet"), concurrency=8)
    >>> rows.write_parquet("s3://bucket/genres")
    """
    configure_data()
    from ray.data import ActorPoolStrategy

    options = options or ActorOptions()
    # A dataset keeps the settings of the time when it was made.
    dataset.context.target_max_block_size = _BLOCK_BYTES
    fewest, most = (concurrency, concurrency) if isinstance(concurrency, int) else concurrency
    return dataset.map_batches(
        GenreActor,
        fn_constructor_kwargs={"options": options},
        batch_size=batch_rows,
        batch_format="pyarrow",
        # All start at once where the cluster has the cores: grown one by one, most of them come late.
        compute=ActorPoolStrategy(min_size=fewest, max_size=most, initial_size=most),
        num_cpus=options.processes if num_cpus is None else num_cpus,
        num_gpus=num_gpus,
    )
