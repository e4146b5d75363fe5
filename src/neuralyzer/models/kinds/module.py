"""Torch modules, trained by the recipe's loop, or by the user's own function or command."""

import math
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import torch
from pyarrow import parquet
from torch import nn
from torch.nn.parameter import is_lazy

from neuralyzer.data import texts
from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError, UsageError, WeightsError
from neuralyzer.models import described, training, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.kinds.kind import InFolder, OnFrozenBase
from neuralyzer.models.objective import declared
from neuralyzer.models.placement import Placement, Precision
from neuralyzer.progress import Progress

if TYPE_CHECKING:
    from neuralyzer.models.recipe import Recipe

DISABLED = "__dynamo_disable"  # attribute in which torch keeps a function's wrapper that its compiler skips


@dataclass(frozen=True)
class Module:
    """The default kind: the ``torch.nn.Module`` that ``Recipe.build`` returns."""

    name: ClassVar[str] = "torch module"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.GRADIENTS, Capability.ROW_GRADIENTS, Capability.INPUT_GRADIENTS, Capability.CONTINUED,
            Capability.STACKED,
        }
    )  # fmt: skip

    def model(self, recipe: "Recipe") -> nn.Module:
        """Build a module, and load pretrained weights where the recipe names some.

        Args:
            recipe: has ``build`` and ``init``.

        Returns:
            The module.

        Raises:
            UsageError: if ``build`` returns no module, or one with lazy layers.
        """
        module = recipe.build()
        if not isinstance(module, nn.Module):
            raise UsageError(f"the recipe's build gave a {type(module).__name__}, not a torch.nn.Module")
        module = getattr(module, "_orig_mod", module)  # torch.compile changes the speed alone; the plain module is kept
        if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
            raise UsageError("the recipe's build gave lazy layers, whose sizes nobody knows yet; give them their sizes")
        return module if recipe.init is None else weights.load_into(module, Path(recipe.init))

    def train(
        self,
        recipe: "Recipe",
        data: Data,
        seed: int,
        progress: Progress,
        observer: training.Observer | None,
        placement: Placement,
    ) -> nn.Module:
        """Train by the recipe's loop, or by its ``train`` or ``command``.

        Args:
            recipe: how to train.
            data: the training rows.
            seed: of initial weights, order and augmentation.
            progress: shown a unit an epoch.
            observer: called at each step of the loop; not called where ``train`` or ``command`` trains.
            placement: device and precision.

        Returns:
            The trained module, in evaluation mode, on the CPU.

        Raises:
            NotFiniteError: if a loss is NaN or infinite.
        """
        if recipe.train is not None:
            return _by_function(recipe, data, seed, progress, placement)
        if recipe.command is not None:
            return _by_command(recipe, data, seed)
        module = recipe.module(seed).to(placement.device)
        optimizer = recipe.optimizer(training.trainable(module))
        per_epoch = training.steps_of(recipe, len(data)) // recipe.epochs
        if observer is not None:
            observer.begin(module, optimizer)
        progress.start("training", recipe.epochs)
        steps = training.order(len(data), recipe.epochs, recipe.batch_size, seed)
        for step, loss in enumerate(
            training.run_steps(recipe, module, optimizer, data, steps, seed, observer, placement=placement)
        ):
            if (step + 1) % per_epoch == 0:
                if not math.isfinite(float(loss)):
                    raise NotFiniteError(f"the training loss is {float(loss)} after {step + 1} steps; lower the rate")
                progress.show(loss=float(loss))
                progress.advance()
        progress.finish()
        return module.cpu().eval()

    def described(self, recipe: "Recipe") -> dict[str, Any]:
        """Return the layers, the optimizer with its groups, the schedule's rates, and the settings of the loop."""
        module = recipe.module()
        with _without_dynamo():
            optimizer = recipe.optimizer([p for p in module.parameters() if p.requires_grad])
            groups = described.groups(optimizer, module)
            rates = None if recipe.schedule is None else described.schedule(recipe.schedule(optimizer, described.STEPS))
        return _settings(recipe, module, optimizer) | {
            "layers": described.layers(module), "groups": groups, "schedule": rates,
        }  # fmt: skip

    def described_earlier(self, recipe: "Recipe") -> dict[str, Any]:
        """Return what the digest of early workspaces covered: no layers, no groups and no rates of the schedule."""
        module = recipe.module()
        with _without_dynamo():
            optimizer = recipe.optimizer(list(module.parameters()))
        return _settings(recipe, module, optimizer)


def _settings(recipe: "Recipe", module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the settings that the digest has covered since the first version, and later ones where they are set."""
    mixed = None if recipe.precision == Precision.FLOAT32 else recipe.precision
    base = module.base_digest() if isinstance(module, OnFrozenBase) else None
    later = {
        "clip": recipe.clip, "average": recipe.average, "precision": mixed, "loss": declared(recipe.objective),
        "base": base,
    }  # fmt: skip
    changed = {name: value for name, value in later.items() if value}  # defaults are left out: old digests stay valid
    return changed | {
        "objective": recipe.objective.name,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "init": recipe.base,
        "command": recipe.command,
        "parameters": {name: [list(p.shape), str(p.dtype)] for name, p in module.state_dict().items()},
        "optimizer": type(optimizer).__name__,
        "defaults": {key: repr(value) for key, value in sorted(optimizer.defaults.items())},
        "own": [recipe.schedule is not None, recipe.augment is not None, recipe.train is not None],
    }


@contextmanager
def _without_dynamo() -> Iterator[None]:
    """Make optimizers without importing ``torch._dynamo``, which the first optimizer does and which takes seconds.

    Torch wraps some of an optimizer's functions so that its compiler skips them. It imports the compiler to make the
    wrapper when such a function is first called. Here each function is set as its own wrapper, for the time being.
    """
    wrapped = [getattr(attribute, "__wrapped__", None) for attribute in vars(torch.optim.Optimizer).values()]
    functions = [function for function in wrapped if function is not None and not hasattr(function, DISABLED)]
    for function in functions:
        setattr(function, DISABLED, function)
    try:
        yield
    finally:
        for function in functions:
            delattr(function, DISABLED)


def _by_function(recipe: "Recipe", data: Data, seed: int, progress: Progress, placement: Placement) -> nn.Module:
    """Train by the recipe's function and check the module that it returns."""
    assert recipe.train is not None
    expected = recipe.module(seed)  # built first, so that a build that fails is reported before the training is spent
    module = recipe.train(data, seed, placement.device, progress)
    if not isinstance(module, nn.Module):
        raise UsageError(f"the recipe's train gave a {type(module).__name__}, not a torch.nn.Module")
    module = module.cpu()
    weights.fill(expected, weights.state(module), "what the recipe's train returned")
    return module.eval()


def _by_command(recipe: "Recipe", data: Data, seed: int) -> nn.Module:
    """Train by the recipe's command and check the weights that it wrote."""
    assert recipe.command is not None
    expected = recipe.module(seed)
    with tempfile.TemporaryDirectory() as folder:
        in_folder = isinstance(expected, InFolder)  # then the command may make a folder at the path that it is given
        rows, written = Path(folder) / "rows.parquet", Path(folder) / ("out" if in_folder else "weights.safetensors")
        parquet.write_table(pa.table({"id": texts.to_arrow(data.ids)}), rows)
        places = {"rows": rows, "seed": seed, "out": written, "weights": written}
        words = [word.format(**places) for word in shlex.split(recipe.command)]
        try:
            process = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError as error:
            raise UsageError(f"the training command {words[0]!r} cannot be run: {error.strerror}") from error
        if process.returncode != 0:
            last = (process.stderr.strip().splitlines() or ["no message"])[-1]
            raise UsageError(f"the training command {words[0]!r} exited {process.returncode}: {last}")
        if not written.exists():
            raise WeightsError(f"the training command {words[0]!r} wrote no weights to the path it was given")
        return weights.load_into(expected, written, f"what the training command {words[0]!r} wrote").eval()
