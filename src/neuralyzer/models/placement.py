"""The device and precision that a module is trained with, and the memory layout of images."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError


class Precision(StrEnum):
    """The number format of forward passes; weights and updates are float32 in both cases."""

    FLOAT32 = "float32"
    BF16 = "bf16"


@dataclass(frozen=True)
class Placement:
    """Device and precision of a training; trained modules are returned on the CPU in torch's default layout.

    Attributes:
        device: such as ``cpu`` or ``cuda:1``.
        precision: of forward passes.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = Precision.FLOAT32

    @classmethod
    def of(cls, device: str | torch.device | None = None, precision: Precision | str | None = None) -> "Placement":
        """Return a placement from checked names.

        Args:
            device: by default the GPU where there is one.
            precision: ``float32``, the default, or ``bf16``.

        Returns:
            The placement.

        Raises:
            UsageError: if there is no such device or precision on this machine.
        """
        if precision and precision not in list(Precision):
            raise UsageError(f"precision is {str(precision)!r}; it must be {' or '.join(Precision)}")
        return cls(as_device(device), Precision(precision or Precision.FLOAT32))

    def rows(self, x: Inputs, y: Tensor, images: bool = False) -> tuple[Inputs, Tensor]:
        """Return a batch on the device; images lie channels last, which is the fastest layout for convolutions."""
        x, y = batches.mapped(x, lambda tensor: tensor.to(self.device)), y.to(self.device)
        if images and isinstance(x, Tensor) and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, y

    def computing(self) -> torch.autocast:
        """Return the context of a forward pass, in the placement's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision is Precision.BF16)

    def repeatable(self, seed: int) -> ExitStack:
        """Return the context of a training: a seeded generator of its own and deterministic algorithms."""
        gpu = self.device.type == "cuda"
        stack = ExitStack()
        stack.enter_context(torch.random.fork_rng(devices=[self.device] if gpu else []))
        torch.manual_seed(seed)
        if gpu:
            flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
            stack.enter_context(flags)
        return stack


CPU = Placement()


def as_device(name: str | torch.device | None) -> torch.device:
    """Return a device that this machine has.

    Args:
        name: such as ``cpu``, ``cuda`` or ``cuda:1``; None for the GPU where there is one, else the CPU.

    Returns:
        The device.

    Raises:
        UsageError: if it is unknown or not there.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device is {str(name)!r}; it must be such as 'cpu', 'cuda' or 'cuda:1'") from None
    available = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= available:
        raise UsageError(
            f"device {str(name)!r} was asked for and torch finds {available} of kind {device.type!r} here; "
            "ask for 'cpu', or leave it out to take what there is"
        )
    return device


def convolves(module: nn.Module) -> bool:
    """Return whether the module convolves images, so that their channels should lie last."""
    return any(isinstance(layer, nn.Conv2d) for layer in module.modules())
