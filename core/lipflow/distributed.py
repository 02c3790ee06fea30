"""One training run on several processes, started by ``torchrun``: each takes some rows of every batch.

The processes draw the same random numbers for the whole batch and sum their gradients, so that the run is that of one
process up to rounding. torch's DistributedDataParallel takes the mean of the processes' losses; here the image and
texture terms are means over the pixels that are seen, of which each process has another number.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor

from lipflow.capture.packed import Batch
from lipflow.checks import InputError
from lipflow.objective import Latent

# nccl has not been run with several processes yet.
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}  # by the type of the device
_SUMMED = ("image", "texture", "mesh", "latent", "loss")
_PATIENCE = timedelta(days=1)  # with the first process, while it packs a capture or validates


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; alone, nothing is exchanged and nothing changes."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """This process's rows of a batch: near-equal runs, in order."""
        return slice(batch * self.rank // self.count, batch * (self.rank + 1) // self.count)

    def total(self, part: Tensor) -> Tensor:
        """The sum of all processes' ``part``."""
        if self.count == 1:
            return part
        whole = part.detach().clone()
        torch.distributed.all_reduce(whole)
        return whole

    def any(self, flag: bool) -> bool:
        """Whether any of the processes says so, all of which must ask."""
        if self.count == 1:
            return flag
        device = {backend: device for device, backend in BACKENDS.items()}[torch.distributed.get_backend()]
        return bool(self.total(torch.tensor(float(flag), device=device)) > 0)

    def gathered(self, part: Tensor, batch: int) -> Tensor:
        """The whole batch's rows [B, ..] from all processes' own; what has one row for all is the same everywhere."""
        rows = self.rows(batch)
        if self.count == 1 or len(part) != rows.stop - rows.start:
            return part
        whole = part.new_zeros(batch, *part.shape[1:])
        whole[rows] = part.detach()
        return self.total(whole)

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace each gradient by the sum over all processes."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(flat)
        for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients])):
            gradient.copy_(summed.view_as(gradient))

    def start_alike(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the first one's values: an eigenvector's sign may hang on the machine."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)

    @contextlib.contextmanager
    def first_first(self) -> Iterator[None]:
        """Do something in the first process before the others do."""
        if self.count > 1 and not self.is_first:
            torch.distributed.barrier()
        yield
        if self.count > 1 and self.is_first:
            torch.distributed.barrier()


ALONE = Ranks()


def shares(
    losses: dict[str, Tensor], batch: Batch, valid: Tensor, rendered: int | None, ranks: Ranks
) -> dict[str, Tensor]:
    """What a process's rows contribute to each term of the whole batch: the contributions add up to it.

    Args:
        losses: the terms of the process's rows.
        batch: its rows.
        valid: [T, T] the texels that the surface uses.
        rendered: the image term is of so many rows; None: all.
        ranks: the processes.
    """
    if ranks.count == 1:
        return losses
    rows = torch.tensor(len(batch.vertices), device=valid.device)
    own = {  # what each term is a mean over
        "image": batch.mask[:rendered].sum(),
        "texture": ((batch.view_texture > 0) & valid).sum(),
        "mesh": rows,
        "latent": rows,
    }
    counts = torch.stack([count.double() for count in own.values()])
    share = (counts / ranks.total(counts).clamp_min(1)).float()
    return {name: losses[name] * part for name, part in zip(own, share) if name in losses}


def totals(contributions: dict[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """The terms and the loss of the whole batch; a process that renders nothing has none of the image term."""
    zero = next(iter(contributions.values())).new_zeros(())
    summed = ranks.total(torch.stack([contributions.get(name, zero).detach() for name in _SUMMED]))
    return {name: total for name, total in zip(_SUMMED, summed) if name in contributions}


def gathered(codes: Latent, batch: int, ranks: Ranks) -> Latent:
    """The codes of the whole batch."""
    return Latent(*(ranks.gathered(getattr(codes, part.name), batch) for part in fields(codes)))


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the processes that ``torchrun`` started, if it did; yields this one's place and its device.

    Raises:
        InputError: if there are more processes than GPUs on this machine.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(), device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        if device.index >= torch.cuda.device_count():
            got = f"{torch.cuda.device_count()} GPUs"
            raise InputError("torchrun", expected="a GPU for each process", got=got, mend="use --device cpu")
        torch.cuda.set_device(device)
    # torch's optimisers import it; it keeps what is the default group by then, which would outlive its destruction and
    # let threads run on into the interpreter's end, where they can abort the process.
    importlib.import_module("torch.distributed.nn")
    torch.distributed.init_process_group(BACKENDS[device.type], timeout=_PATIENCE)
    try:
        yield Ranks(torch.distributed.get_rank(), count), device
    finally:
        torch.distributed.destroy_process_group()
