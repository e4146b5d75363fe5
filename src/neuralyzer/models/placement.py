"""Where a module is trained and with which numbers: the device, the precision, the layout of images."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError


class Precision(StrEnum):
    """Numbers that forward passes compute with; weights and updates are float32 in both."""

    FLOAT32 = "float32"
    BF16 = "bf16"


@dataclass(frozen=True)
class Placement:
    """Where training happens. What comes back is on the CPU and laid out as torch's default has it.

    Attributes:
        device: such as ``cpu`` or ``cuda:1``.
        precision: of forward passes.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = Precision.FLOAT32

    @classmethod
    def of(cls, device: str | torch.device | None = None, precision: Precision | str | None = None) -> "Placement":
        """A placement by names, each checked.

        Args:
            device: by default the GPU where there is one.
            precision: ``float32``, the default, or ``bf16``.

        Returns:
            The placement.

        Raises:
            UsageError: if there is no such device or precision here.
        """
        if precision and precision not in list(Precision):
            raise UsageError(f"precision is {str(precision)!r}; it must be {' or '.join(Precision)}")
        return cls(as_device(device), Precision(precision or Precision.FLOAT32))

    def rows(self, x: Inputs, y: Tensor, images: bool = False) -> tuple[Inputs, Tensor]:
        """A batch on the device; images channels last, as convolutions take them fastest."""
        x, y = batches.mapped(x, lambda own: own.to(self.device)), y.to(self.device)
        if images and isinstance(x, Tensor) and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, y

    def computing(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision is Precision.BF16)

    def repeatable(self, seed: int) -> ExitStack:
        """The context of a training: its own random numbers, and algorithms that give the same weights each time."""
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
    """A device that is there.

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
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= there:
        raise UsageError(
            f"device {str(name)!r} was asked for and torch finds {there} of kind {device.type!r} here; ask for 'cpu', "
            "or leave it out to take what there is"
        )
    return device


def convolves(module: nn.Module) -> bool:
    """Whether the module convolves images, so that their channels should lie last."""
    return any(isinstance(layer, nn.Conv2d) for layer in module.modules())
