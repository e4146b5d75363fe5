"""Reading a model with every signal: the same way for a reference, for the Oracle and for what was unlearned."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.models import weights
from neuralyzer.references.signal_values import Floats, Indices, Part
from neuralyzer.signals.relearned import SMALLEST_UNIT
from neuralyzer.signals.signal import Batch, Context, Signal, measure_units


@dataclass(frozen=True)
class Reading:
    """One signal's reading of one model on a request's parts: ``rows`` and ``holdout`` of each part."""

    rows: Sequence[Floats]
    holdout: Sequence[Floats]


MOST_REMEMBERED = 8  # requests a model


class AlreadyRead:
    """What models that are still at hand read, as long as their weights stay the same.

    A case reads the original for the audit and for the verdict, and the unlearned model before a look is spent and at
    the look: these are the same readings.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[nn.Module, Known] = WeakKeyDictionary()

    def of(self, model: nn.Module) -> "Known":
        """What is known of a model with these weights: to be looked into and added to."""
        digest = weights.digest(model)
        if model not in self._known or self._known[model].digest != digest:
            self._known[model] = Known(digest)
        return self._known[model]


@dataclass(frozen=True)
class Known:
    """What one model read: on requests by signal, and on the holdout by signal."""

    digest: str
    requests: dict[Any, dict[str, Reading]] = field(default_factory=dict)
    holdout: dict[str, Floats] = field(default_factory=dict)

    def request(self, parts: Sequence[Part]) -> dict[str, Reading]:
        """Of one request; the oldest of too many gives way."""
        asked = tuple((part.subject, part.rows.tobytes()) for part in parts)
        if asked not in self.requests and len(self.requests) == MOST_REMEMBERED:
            del self.requests[next(iter(self.requests))]
        return self.requests.setdefault(asked, {})


@dataclass(frozen=True, eq=False)
class Evaluator:
    """What every model of a lineage is read with.

    Attributes:
        signals: by name.
        context: objective, perturbations and settings.
        data: the training rows as they now are.
        holdout: rows that no model saw.
        few: which holdout rows per-unit signals read, ``(500,)`` at most.
        units: rows of each subject that can be relearned as they were when references were made, by subject.
        already: what it read before.
    """

    signals: Mapping[str, Signal]
    context: Context
    data: Data
    holdout: Batch
    few: Indices
    units: Mapping[int, Indices]
    already: AlreadyRead = field(default_factory=AlreadyRead, init=False, repr=False)

    @property
    def holdout_few(self) -> Batch:
        """The holdout rows that per-unit signals read."""
        return self.holdout.take(self.few)

    def batch(self, positions: Indices) -> Batch:
        """Training rows in memory."""
        return Batch(*self.data.gather(positions))

    def measures(self, signal: Signal, parts: Sequence[Part]) -> bool:
        """Whether a request of these parts has the signal: a per-unit one reads whole units only."""
        return not signal.per_unit or all(
            part.subject in self.units and np.array_equal(part.rows, self.units[part.subject]) for part in parts
        )

    def read(self, model: nn.Module, parts: Sequence[Part], names: Collection[str] | None = None) -> dict[str, Reading]:
        """Read a model on a request's rows and on the holdout.

        Args:
            model: read in evaluation mode, not changed.
            parts: what the request asks for, by subject.
            names: signals to read; all by default.

        Returns:
            Readings by signal; a signal that the request does not have is missing.
        """
        asked = [
            name for name, own in self.signals.items() if (names is None or name in names) and self.measures(own, parts)
        ]
        own = self.already.of(model)
        known = own.request(parts)
        missing = [name for name in asked if name not in known]
        if missing:
            known |= self._read(model, parts, missing, own.holdout)
        return {name: known[name] for name in asked}

    def _read(
        self, model: nn.Module, parts: Sequence[Part], names: Sequence[str], holdout: dict[str, Floats]
    ) -> dict[str, Reading]:
        """Read; rows are read one by one, so that a model's readings on the ``holdout`` serve all of its requests."""
        found = {}
        everything = self.batch(np.concatenate([part.rows for part in parts]))
        splits = np.cumsum([len(part.rows) for part in parts])[:-1]
        for name in names:
            signal = self.signals[name]
            if signal.per_unit:
                units = [self.batch(part.rows) for part in parts]
                pairs = measure_units(signal, model, units, self.holdout_few, self.context)
                found[name] = Reading([_floats(rows) for rows, _ in pairs], [_floats(outside) for _, outside in pairs])
            else:
                first = self.holdout.take(slice(1))
                outside = first if name in holdout else self.holdout
                rows, beyond = signal.measure(model, everything, outside, self.context)
                known = holdout.setdefault(name, _floats(beyond))
                found[name] = Reading(np.split(_floats(rows), splits), [known] * len(parts))
        return found

    def read_rows(
        self, model: nn.Module, rows: Batch, holdout: Batch | None = None
    ) -> dict[str, tuple[Floats, Floats]]:
        """Read a model on rows that need not be training rows, with every signal that reads rows one by one.

        Args:
            model: read in evaluation mode, not changed.
            rows: ``n`` rows.
            holdout: ``H`` rows that no model saw; the pool's by default.

        Returns:
            Readings ``(n,)`` and ``(H,)`` by signal.
        """
        outside = self.holdout if holdout is None else holdout
        found = {}
        for name, signal in self.signals.items():
            if not signal.per_unit:
                own, beyond = signal.measure(model, rows, outside, self.context)
                found[name] = (_floats(own), _floats(beyond))
        return found


def units_of(positions: Sequence[Indices]) -> dict[int, Indices]:
    """The subjects that can be relearned: those with 8 rows or more."""
    return {subject: rows for subject, rows in enumerate(positions) if len(rows) >= SMALLEST_UNIT}


def _floats(values: torch.Tensor) -> Floats:
    return values.detach().double().numpy()
