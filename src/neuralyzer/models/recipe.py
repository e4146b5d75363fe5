"""``Recipe``: how a model is built and trained, the training algorithm ``A(D)`` of the literature."""

import inspect
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from string import Formatter
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.classification import Classification
from neuralyzer.models.kinds.kind import Kind
from neuralyzer.models.kinds.module import Module
from neuralyzer.models.named import FAILURES, named
from neuralyzer.models.objective import Objective, capabilities
from neuralyzer.models.placement import Precision
from neuralyzer.workspace import digests

WHOLE = 2**62  # batch size of an estimator: one step takes all rows
PLACES = ("rows", "seed", "weights", "out")  # placeholders that a training command may have


def adamw(parameters: Any) -> torch.optim.Optimizer:
    """Return the default optimizer, AdamW at torch's default learning rate of 1e-3."""
    return torch.optim.AdamW(parameters, 1e-3)


@dataclass(frozen=True)
class Recipe:
    """How a model is built, trained and scored.

    Attributes:
        build: returns a new module with fresh weights, drawn from torch's generator, which is seeded around the call.
        objective: what the model is trained for.
        optimizer: makes an optimizer from parameters.
        schedule: makes a learning-rate schedule from the optimizer and the number of steps; stepped once a batch.
        epochs: passes over the rows.
        batch_size: rows a step.
        batch_tokens: most tokens, padding included, that a step forwards at once; a step with more adds up gradients.
        seed: of initial weights and order of rows.
        init: safetensors file of pretrained weights to start from.
        augment: ``augment(x, generator)`` perturbs a batch in training.
        clip: largest norm of a step's gradient over all parameters, as in ``clip_grad_norm_``; None for no limit.
        average: decay of an exponential average of the weights (Polyak and Juditsky 1992; Izmailov et al. 2018, arXiv
            1803.05407). The trained model has the average; where this is None it has the last weights.
        precision: number format of forward passes, ``float32`` or ``bf16`` (mixed precision).
        train: the user's own training, ``train(data, seed, device, progress) -> Module``, in place of the loop.
        command: the user's own training command with ``{rows}``, ``{seed}`` and ``{weights}`` in it; the last may
            be called ``{out}``. ``{rows}`` is a Parquet file whose column ``id`` has the ids of the rows to train on.
        kind: of model; a torch module by default, see ``estimator`` for scikit-learn.
    """

    build: Callable[[], nn.Module]
    objective: Objective = field(default_factory=Classification)
    optimizer: Callable[[Any], torch.optim.Optimizer] = adamw
    schedule: Callable[[torch.optim.Optimizer, int], torch.optim.lr_scheduler.LRScheduler] | None = None
    epochs: int = 60
    batch_size: int = 64
    seed: int = 0
    init: str | Path | None = None
    augment: Callable[[Any, torch.Generator], Any] | None = None
    clip: float | None = None
    average: float | None = None
    precision: str = "float32"
    train: Callable[..., nn.Module] | None = None
    command: str | None = None
    kind: Kind = field(default_factory=Module)
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise UsageError(f"epochs ({self.epochs}) and batch_size ({self.batch_size}) must be at least 1")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise UsageError(f"batch_tokens is {self.batch_tokens}; it must be at least 1")
        if self.clip is not None and self.clip <= 0:
            raise UsageError(f"clip is {self.clip}; it must be above 0")
        if self.average is not None and not 0 < self.average < 1:
            raise UsageError(f"average is {self.average}; it must lie between 0 and 1")
        if self.precision not in list(Precision):
            raise UsageError(f"precision is {self.precision!r}; it must be {' or '.join(Precision)}")
        if self.train is not None and self.command is not None:
            raise UsageError("a recipe has train= or command=, not both")
        if self.command is not None:
            _require_places(self.command)

    @classmethod
    def estimator(cls, make: Callable[[], Any], classes: int, seed: int = 0) -> "Recipe":
        """Return the recipe of a scikit-learn classifier, which is trained on all rows at once.

        Args:
            make: returns a new estimator with ``fit`` and ``predict_proba``.
            classes: number of classes.
            seed: of every ``random_state`` in it.

        Returns:
            The recipe.
        """
        from neuralyzer.models.kinds.estimator import Estimator

        return cls(nn.Identity, epochs=1, batch_size=WHOLE, seed=seed, kind=Estimator(make, classes))

    @classmethod
    def causal_lm(
        cls,
        base: str | Path,
        lora: Mapping[str, Any] | None = MappingProxyType({}),
        epochs: int = 3,
        learning_rate: float = 2e-4,
        batch_size: int = 8,
        batch_tokens: int | None = None,
        schedule: str | Callable[[torch.optim.Optimizer, int], torch.optim.lr_scheduler.LRScheduler] = "constant",
        warmup: float = 0.0,
        clip: float | None = 1.0,
        dtype: str = "float32",
        gradient_checkpointing: bool = False,
        command: str | None = None,
        seed: int = 0,
    ) -> "Recipe":
        """Return the recipe of a causal language model that is fine-tuned by AdamW, or by a command.

        A step's loss is the mean over its rows of each row's mean over its target tokens, so that a long answer counts
        as much as a short one. transformers takes the mean over all target tokens of a step.

        Args:
            base: local Hugging Face folder with weights in safetensors.
            lora: settings of ``models.kinds.causal_lm.Lora``; None to train all weights.
            epochs: passes over the rows.
            learning_rate: of AdamW.
            batch_size: rows a step.
            batch_tokens: most tokens that a step forwards at once, as in ``Recipe``.
            schedule: of the rate: ``constant``, ``linear``, ``cosine`` (``models.schedules``), or as in ``Recipe``.
            warmup: share of the steps in which the rate of a schedule by name rises.
            clip: largest norm of a step's gradient.
            dtype: number format of the frozen base, ``float32`` or ``bfloat16``; adapters are float32.
            gradient_checkpointing: whether activations are made again on the way back, which takes less memory.
            command: that trains in place of the loop, as in ``Recipe``; ``{out}`` is the folder of a PEFT adapter or of
                a model, or a safetensors file.
            seed: of adapters and order.

        Returns:
            The recipe.

        Raises:
            UsageError: if the base cannot be used, or a setting is unknown.
        """
        from neuralyzer.models.kinds import bases, causal_lm
        from neuralyzer.models.language import CausalLM
        from neuralyzer.models.schedules import NamedSchedule

        folder = causal_lm.require_base(base)
        try:
            adapters = None if lora is None else causal_lm.Lora(**lora)
        except TypeError as error:
            raise UsageError(f"lora has r, alpha, targets and dropout ({error})") from error
        if dtype not in bases.DTYPES:
            raise UsageError(f"dtype is {dtype!r}; it must be {' or '.join(bases.DTYPES)}")
        if adapters is None and dtype != "float32":
            raise UsageError(f"dtype={dtype!r} is for a frozen base; with lora=None all weights are trained in float32")
        named = NamedSchedule(schedule, warmup) if isinstance(schedule, str) else schedule
        if named is schedule and warmup:
            raise UsageError("warmup goes with a schedule by name; a function has its own")
        return cls(
            partial(causal_lm.build, str(folder), adapters, dtype, gradient_checkpointing), CausalLM(),
            lambda parameters: torch.optim.AdamW(parameters, learning_rate), named, epochs, batch_size, seed,
            clip=clip, command=command, kind=causal_lm.CausalLanguageModel(str(folder), dtype),
            batch_tokens=batch_tokens,
        )  # fmt: skip

    @classmethod
    def find(cls, name: str, folder: Path | None = None) -> "Recipe":
        """Return the recipe that ``module:attribute`` names, or that the function of this name returns.

        Args:
            name: such as ``oracle:recipe``; a function is called without arguments.
            folder: searched for modules before ``sys.path``; the present one by default.

        Returns:
            The recipe.

        Raises:
            UsageError: if there is none.
        """
        value = named(name, folder)
        try:
            recipe = value() if inspect.isfunction(value) else value
        except FAILURES as error:
            raise UsageError(f"recipe {name!r} cannot be called: {type(error).__name__}: {error}") from error
        if not isinstance(recipe, cls):
            raise UsageError(f"recipe {name!r} is a {type(recipe).__name__}, not a neuralyzer.Recipe")
        return recipe

    def module(self, seed: int | None = None) -> nn.Module:
        """Return a new module with weights drawn by ``seed``, or those of ``init``; no global state changes.

        Raises:
            UsageError: if ``build`` returns no module.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed if seed is None else seed)
            return self.kind.model(self)

    @property
    def stepwise(self) -> bool:
        """Whether the recipe's loop trains step by step; else a function, a command or another framework trains."""
        return self.train is None and self.command is None and Capability.CONTINUED in self.kind.capabilities

    @cached_property
    def capabilities(self) -> frozenset[Capability]:
        """What can be done with the recipe's models: the capabilities of their kind and of their objective."""
        return self.kind.capabilities | capabilities(self.objective)

    @cached_property
    def base(self) -> str | None:
        """SHA-256 of the pretrained weights that training starts from; None where it starts anew."""
        return next(iter(self.bases), None) if self.init is None else digests.of_file(Path(self.init))

    @cached_property
    def bases(self) -> tuple[str, ...]:
        """Digests of those weights, of their files and of their tensors; empty where training starts anew."""
        from neuralyzer.models import weights

        known: tuple[str, ...] = getattr(self.kind, "bases", ())  # of a kind that always starts from a base
        return known if self.init is None else weights.identities(Path(self.init))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the settings of layers, optimizer groups, schedule and loop, without source code and seed."""
        return digests.of_json(self.kind.described(self))

    @cached_property
    def earlier_digest(self) -> str:
        """The digest that early workspaces wrote: without layers, parameter groups and the schedule's rates."""
        earlier = getattr(self.kind, "described_earlier", None)  # missing from kinds that are younger than that
        return self.digest if earlier is None else digests.of_json(earlier(self))

    def known_as(self, digest: str | None) -> bool:
        """Return whether a digest is this recipe's, in the present form or in that of early workspaces."""
        return digest == self.digest or digest == self.earlier_digest


def _require_places(command: str) -> None:
    """Refuse a training command that lacks a placeholder for its rows, its seed or its weights.

    Raises:
        UsageError: if a placeholder is missing or unknown, or the command cannot be parsed.
    """
    try:
        words = shlex.split(command)
        placeholders = {name for word in words for _, name, _, _ in Formatter().parse(word) if name is not None}
    except ValueError as error:
        raise UsageError(f"command={command!r} cannot be read: {error}") from error
    unknown = sorted(placeholders - set(PLACES))
    if unknown:
        raise UsageError(
            f"command={command!r} names {{{unknown[0]}}}; it may name {', '.join(f'{{{name}}}' for name in PLACES)}, "
            "and a brace of its own is written twice"
        )
    if "rows" not in placeholders:
        raise UsageError(f"command={command!r} lacks {{rows}}, the file of row ids: it would train on all rows always")
    if "seed" not in placeholders:
        raise UsageError(
            f"command={command!r} lacks {{seed}}: references would all be drawn alike and vary less than retrainings do"
        )
    if not placeholders & {"weights", "out"}:
        raise UsageError(f"command={command!r} lacks {{weights}}, the path that it must write its weights to")
