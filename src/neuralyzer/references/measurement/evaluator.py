"""The evaluator: reads any model by every signal, in the same way for references, the original and unlearned models."""

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
    """One signal's values for one model: on the ``rows`` of each part of a request, and on each part's ``holdout``."""

    rows: Sequence[Floats]
    holdout: Sequence[Floats]


MOST_CACHED = 8  # requests whose readings are kept for each model


class ReadingCache:
    """A cache of readings by model, valid while the model's weights stay the same.

    A case reads the original for the audit and for the verdict, and the unlearned model before and at an access to the
    evaluation split. These readings are equal, so each is computed once.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[nn.Module, CachedReadings] = WeakKeyDictionary()

    def __reduce__(self) -> "tuple[type[ReadingCache], tuple[()]]":
        return ReadingCache, ()  # in another process it is empty, since its keys are objects of this one

    def of(self, model: nn.Module) -> "CachedReadings":
        """Return the cached readings of a model with its present weights, to be read and added to."""
        digest = weights.digest(model)
        if model not in self._known or self._known[model].digest != digest:
            self._known[model] = CachedReadings(digest)
        return self._known[model]


@dataclass(frozen=True)
class CachedReadings:
    """The cached readings of one model: on requests by signal, and on the holdout by signal."""

    digest: str
    requests: dict[Any, dict[str, Reading]] = field(default_factory=dict)
    holdout: dict[str, Floats] = field(default_factory=dict)

    def request(self, parts: Sequence[Part]) -> dict[str, Reading]:
        """Return the readings on one request by signal; if there are too many requests, the oldest is dropped."""
        key = tuple((part.subject, part.rows.tobytes()) for part in parts)
        if key not in self.requests and len(self.requests) == MOST_CACHED:
            del self.requests[next(iter(self.requests))]
        return self.requests.setdefault(key, {})


@dataclass(frozen=True, eq=False)
class Evaluator:
    """The signals, rows and settings by which every model of a lineage is read.

    Attributes:
        signals: by name.
        context: objective, perturbations and settings.
        data: the present training rows.
        holdout: rows that no model saw.
        few: which holdout rows per-unit signals read, ``(500,)`` at most.
        units: by subject, the rows of each that can be relearned and has lost no row since references were made.
        cache: what the evaluator read before.
    """

    signals: Mapping[str, Signal]
    context: Context
    data: Data
    holdout: Batch
    few: Indices
    units: Mapping[int, Indices]
    cache: ReadingCache = field(default_factory=ReadingCache, init=False, repr=False)

    @property
    def holdout_few(self) -> Batch:
        """Return the holdout rows that per-unit signals read."""
        return self.holdout.take(self.few)

    def batch(self, positions: Indices) -> Batch:
        """Return training rows in memory."""
        return Batch(*self.data.gather(positions))

    def measures(self, signal: Signal, parts: Sequence[Part]) -> bool:
        """Return whether a signal can read these parts: a per-unit signal reads whole units only."""
        return not signal.per_unit or all(
            part.subject in self.units and np.array_equal(part.rows, self.units[part.subject]) for part in parts
        )

    def read(self, model: nn.Module, parts: Sequence[Part], names: Collection[str] | None = None) -> dict[str, Reading]:
        """Read a model on a request's rows and on the holdout.

        Args:
            model: read in evaluation mode, not changed.
            parts: the request's rows by subject.
            names: signals to read; all by default.

        Returns:
            Readings by signal; signals that cannot read the request are missing.
        """
        wanted = [
            name
            for name, signal in self.signals.items()
            if (names is None or name in names) and self.measures(signal, parts)
        ]
        cached = self.cache.of(model)
        readings = cached.request(parts)
        missing = [name for name in wanted if name not in readings]
        if missing:
            readings |= self._read(model, parts, missing, cached.holdout)
        return {name: readings[name] for name in wanted}

    def _read(
        self, model: nn.Module, parts: Sequence[Part], names: Sequence[str], holdout: dict[str, Floats]
    ) -> dict[str, Reading]:
        """Read a model by signals that are not cached.

        A row's value does not depend on the rows beside it, so a model's values on the ``holdout`` serve all requests.

        Returns:
            Readings by signal; new holdout values are added to ``holdout``.
        """
        readings = {}
        everything = self.batch(np.concatenate([part.rows for part in parts]))
        splits = np.cumsum([len(part.rows) for part in parts])[:-1]
        for name in names:
            signal = self.signals[name]
            if signal.per_unit:
                units = [self.batch(part.rows) for part in parts]
                pairs = measure_units(signal, model, units, self.holdout_few, self.context)
                readings[name] = Reading([_floats(rows) for rows, _ in pairs], [_floats(values) for _, values in pairs])
            else:
                # A signal reads some holdout always; where its values are known, one row is enough.
                holdout_rows = self.holdout.take(slice(1)) if name in holdout else self.holdout
                rows, on_holdout = signal.measure(model, everything, holdout_rows, self.context)
                values = holdout.setdefault(name, _floats(on_holdout))
                readings[name] = Reading(np.split(_floats(rows), splits), [values] * len(parts))
        return readings

    def read_rows(
        self, model: nn.Module, rows: Batch, holdout: Batch | None = None
    ) -> dict[str, tuple[Floats, Floats]]:
        """Read a model on any rows, by every signal that reads rows one by one.

        Args:
            model: read in evaluation mode, not changed.
            rows: ``n`` rows.
            holdout: ``H`` rows that no model saw; the pool's by default.

        Returns:
            Readings ``(n,)`` and ``(H,)`` by signal.
        """
        holdout_rows = self.holdout if holdout is None else holdout
        readings = {}
        for name, signal in self.signals.items():
            if not signal.per_unit:
                on_rows, on_holdout = signal.measure(model, rows, holdout_rows, self.context)
                readings[name] = (_floats(on_rows), _floats(on_holdout))
        return readings


def units_of(positions: Sequence[Indices]) -> dict[int, Indices]:
    """Return the rows of the subjects that can be relearned: those with 8 rows or more."""
    return {subject: rows for subject, rows in enumerate(positions) if len(rows) >= SMALLEST_UNIT}


def _floats(values: torch.Tensor) -> Floats:
    return values.detach().double().numpy()
