"""The search shared by all algorithms: their strength, set by what the tuning split alone can see.

The states of every trial are judged by ``Tuner``: the trace of every family on the tuning split, relearning included,
the loss on retained rows held back, and utility on half of the holdout. As a look may take longer than a pass, it looks
after passes 1, 2, 4, 8 and so on, and after the last. The samplers are Optuna's: a tree of Parzen estimators proposes
settings (Bergstra et al. 2011), the paper's defaults come first, and a trial that stands worse than the median of those
before it after as many passes is given up.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neuralyzer.errors import NotFiniteError
from neuralyzer.models import weights
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Method, Passes, Range, gradual, space, states
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.tuner import Trial, Tuner
from neuralyzer.workspace import atomic

TRIALS = 12
STARTUP = 4  # trials drawn at random, and before any is given up
TAKEN = 0.7  # of all trials' passes, since some are given up: measured by the benchmark of methods


@dataclass(frozen=True)
class Tried:
    """One trial of a search.

    Attributes:
        settings: by hyperparameter; ``epochs`` is how many passes its best state took, where it has passes.
        z: of its best state, the joint statistic on the tuning split over its critical value.
        loss: of that state on retained rows held back.
        scores: of each state that was looked at, smaller is better.
        seconds: of the search, when the trial was over.
        pruned: whether it was given up.
    """

    settings: dict[str, Any]
    z: float
    loss: float
    scores: tuple[float, ...]
    seconds: float
    pruned: bool = False

    @property
    def score(self) -> float:
        """Of its best state."""
        return min(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """As plain values; what is infinite is None."""
        finite = {name: value if math.isfinite(value) else None for name, value in (("z", self.z), ("loss", self.loss))}
        own = {"settings": self.settings, "scores": list(self.scores), "seconds": self.seconds, "pruned": self.pruned}
        return own | finite

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Tried":
        """What ``to_dict`` wrote down."""
        infinite = {name: math.inf if values[name] is None else values[name] for name in ("z", "loss")}
        return cls(**{**values, **infinite, "scores": tuple(values["scores"])})


@dataclass(frozen=True, eq=False)
class Found:
    """What a search came to.

    Attributes:
        module: of the best state of all.
        settings: that gave it.
        trials: all of them, in order.
    """

    module: nn.Module
    settings: dict[str, Any]
    trials: tuple[Tried, ...]


Better = Callable[[float, nn.Module, dict[str, Any]], None]


def looks(method: Any) -> list[int]:
    """The passes after which a trial is looked at: the powers of two, and the last."""
    last = getattr(method, "epochs", 1) if gradual(method) else 1
    return sorted({last, *(2**k for k in range(last.bit_length()) if 2**k <= last)})


def passes(method: Method, task: Task, trials: int = TRIALS) -> Passes:
    """The work of a search: each trial's, and the tuning split's readings."""
    judged = len(looks(method))
    own = method.passes(task) + Passes(forwards=2 * judged * len(task.held_back), readings=judged)
    # The first trial, of the defaults, is never given up.
    times = 1 + TAKEN * (trials - 1) if gradual(method) else trials
    return own * times


def search(
    method: Method,
    task: Task,
    progress: Progress | None = None,
    *,
    trials: int = TRIALS,
    notes: Path | None = None,
    better: Better | None = None,
) -> Found:
    """Set an algorithm's strength for this model and these rows, and unlearn with it.

    It stops when the task's time is up, with the best that it has; the first trial, of the method's own
    hyperparameters, is begun in any case.

    Args:
        method: with the hyperparameters that the first trial takes and that no ``space`` names.
        task: with the tuning split.
        progress: shown each trial.
        trials: how many.
        notes: a folder in which each finished trial is written down: killed and called again, the search goes on from
            there. None for nowhere.
        better: told, each time a state is the best so far, the seconds since the beginning, the model and its settings.

    Returns:
        What was found.
    """
    progress, record = progress or Silent(), _Record(notes)
    tuner, done = Tuner(task, method.repaired), record.read()
    began = time.perf_counter() - (done[-1].seconds if done else 0.0)
    best, module = math.inf, record.weights(task.model) if done else task.model
    settings: dict[str, Any] = {}
    for tried in done:
        if tried.score < best:
            best, settings = tried.score, tried.settings
    progress.start(f"{method.name}: settings, by the tuning split", trials)
    progress.advance(len(done))
    for number in range(len(done), trials):
        trial = _Trial(method, task, tuner, done, number)
        for score, state in trial.states():
            if score < best:
                best, settings, module = score, state.settings, state.module
                progress.show(z=tuner.relative(state.z), loss=state.loss)
                if better is not None:
                    better(time.perf_counter() - began, module, settings)
        done.append(trial.tried(time.perf_counter() - began))
        if done[-1].score == best:
            record.keep(module)
        record.write(done)
        progress.advance()
        if task.time_is_up:
            break
    progress.finish()
    return Found(module, settings, tuple(done))


class _Trial:
    """One setting: its states, each judged, until it is given up or over."""

    def __init__(self, method: Method, task: Task, tuner: Tuner, done: list[Tried], number: int) -> None:
        self.task, self.tuner, self.pruned = task, tuner, False
        self.trial, self.settings = _proposed(method, done, number, task.seed)
        self.method: Any = replace(method, **self.settings)  # type: ignore[type-var]
        self.judged: list[Trial] = []
        self.scores: list[float] = []

    def states(self) -> Iterator[tuple[float, Trial]]:
        """Each state that is looked at, with its score."""
        looked = looks(self.method)
        for number, module in enumerate(self._finite(), 1):
            if number not in looked:
                continue
            own = self.tuner.judge(self.settings | ({"epochs": number} if gradual(self.method) else {}), module)
            self.judged.append(replace(own, module=self.task.model))  # whoever asks holds the only other copy
            self.scores.append(self.tuner.score(own))
            yield self.scores[-1], own
            self.trial.report(self.scores[-1], number)
            if self.trial.should_prune():
                self.pruned = True
                return

    def _finite(self) -> Iterator[nn.Module]:
        """The states up to where a setting is too strong for the model, which is no failure of the algorithm."""
        try:
            yield from states(self.method, self.task)
        except NotFiniteError:
            if not self.judged:
                yield _broken(self.task)

    def tried(self, seconds: float) -> Tried:
        best = self.judged[self.scores.index(min(self.scores))]
        return Tried(
            best.settings, self.tuner.relative(best.z), best.loss, tuple(self.scores), seconds, self.pruned
        )  # fmt: skip


def _broken(task: Task) -> nn.Module:
    """A model without a finite weight: whatever judges it rules it out."""
    module = weights.clone(task.model)
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(torch.nan)
    return module


class _Record:
    """Finished trials and the best weights so far, in a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def read(self) -> list[Tried]:
        if self.folder is None or not (self.folder / "trials.json").exists():
            return []
        return [Tried.from_dict(line) for line in atomic.read_json(self.folder / "trials.json")["trials"]]

    def write(self, done: list[Tried]) -> None:
        if self.folder is not None:
            atomic.write_json(self.folder / "trials.json", {"trials": [tried.to_dict() for tried in done]})

    def keep(self, module: nn.Module) -> None:
        if self.folder is not None:
            weights.save(module, self.folder / "best.safetensors")

    def weights(self, like: nn.Module) -> nn.Module:
        assert self.folder is not None
        return weights.load_into(weights.clone(like), self.folder / "best.safetensors").eval()


def _proposed(method: Method, done: list[Tried], number: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """Optuna's trial and its settings, by all that was tried before: the same whether or not the search was killed."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranges = space(method)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed + 7919 * number),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1),
    )
    distributions = {name: distribution(own) for name, own in ranges.items()}
    for tried in done:
        state = optuna.trial.TrialState.PRUNED if tried.pruned else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(
                params={name: tried.settings[name] for name in ranges}, distributions=distributions,
                value=tried.score, intermediate_values=dict(zip(looks(method), tried.scores, strict=False)), state=state,
            )
        )  # fmt: skip
    if number == 0:
        study.enqueue_trial({name: getattr(method, name) for name in ranges})
    trial = study.ask(distributions)
    return trial, dict(trial.params)


def distribution(own: Range) -> Any:
    """A range as Optuna's distribution."""
    import optuna

    if own.whole:
        return optuna.distributions.IntDistribution(int(own.low), int(own.high), log=not own.even and own.low >= 1)
    return optuna.distributions.FloatDistribution(own.low, own.high, log=not own.even)
