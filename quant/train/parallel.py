"""Several processes that train one net, each on its share of every batch (torch.distributed); alone, nothing happens."""
import torch
from torch import distributed


def world() -> tuple[int, int]:
    """(rank, number of processes): (0, 1) where no group was started."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def share(at: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The places of a batch that this process takes, and the weight that makes the mean of all processes' means that of the batch.

    A batch with fewer images than processes is taken by all of them.
    """
    rank, size = world()
    if len(at) < size:
        return at, 1.0
    own = at[rank::size]
    return own, len(own) * size / len(at)


def all_sum(v: torch.Tensor) -> torch.Tensor:
    """The sum of the processes' tensors, in each of them."""
    if world()[1] > 1:
        distributed.all_reduce(v)
    return v


def barrier() -> None:
    """Wait for all processes."""
    if world()[1] > 1:
        distributed.barrier()
