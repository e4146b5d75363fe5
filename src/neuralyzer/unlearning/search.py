"""The hyperparameter search that all algorithms share, by the tuning split alone.

``Tuner`` evaluates the states of every trial: the residual trace of every family on the tuning split, relearning
included, the loss on held-back retained rows, and utility on half of the holdout. An evaluation may take longer than a
pass, so that states are evaluated after passes 1, 2, 4, 8 and so on, and after the last. The first trial has the
paper's defaults. Later settings are proposed by Optuna's tree of Parzen estimators (Bergstra et al. 2011). A trial that
is worse than the median of those before it, after as many passes, is pruned.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from neuralyzer._moved import old_arguments, old_names
from neuralyzer.errors import NotFiniteError
from neuralyzer.models import weights
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Method, Passes, Range, gradual, space, states
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.tuner import Trial, Tuner
from neuralyzer.workspace import atomic

TRIALS = 12  # default number of trials (docs/decisions/0023-blind-search.md)
STARTUP = 4  # trials that are drawn at random, and before any is pruned; chosen, not tuned
TAKEN = 0.7  # share of all trials' passes that is run, since some are pruned: measured by the benchmark of methods


@dataclass(frozen=True)
class Tried:
    """One trial of a search.

    Attributes:
        settings: by hyperparameter; ``epochs`` is the number of passes of its best state, where it has passes.
        z: joint statistic of its best state on the tuning split, divided by its critical value.
        loss: mean loss of that state on held-back retained rows.
        scores: of each evaluated state, smaller is better.
        seconds: time from the search's start to the trial's end.
        pruned: whether it was stopped early.
    """

    settings: dict[str, Any]
    z: float
    loss: float
    scores: tuple[float, ...]
    seconds: float
    pruned: bool = False

    @property
    def score(self) -> float:
        """Score of its best state."""
        return min(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as JSON values, with None for infinite numbers."""
        finite = {name: value if math.isfinite(value) else None for name, value in (("z", self.z), ("loss", self.loss))}
        plain = {"settings": self.settings, "scores": list(self.scores), "seconds": self.seconds, "pruned": self.pruned}
        return plain | finite

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Tried":
        """Return the trial that ``to_dict`` wrote."""
        infinite = {name: math.inf if values[name] is None else values[name] for name in ("z", "loss")}
        return cls(**{**values, **infinite, "scores": tuple(values["scores"])})


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The result of a search.

    Attributes:
        module: the best state's model.
        settings: that it was made with.
        trials: all of them, in order.
    """

    module: nn.Module
    settings: dict[str, Any]
    trials: tuple[Tried, ...]


Improvement = Callable[[float, nn.Module, dict[str, Any]], None]

if not TYPE_CHECKING:
    __getattr__ = old_names(
        __name__,
        {
            "Better": f"{__name__}.Improvement",
            "Found": f"{__name__}.SearchResult",
            "looks": f"{__name__}.evaluated_passes",
        },
    )


def evaluated_passes(method: Any) -> list[int]:
    """Return the passes after which a trial is evaluated: the powers of two, and the last."""
    last = getattr(method, "epochs", 1) if gradual(method) else 1
    return sorted({last, *(2**k for k in range(last.bit_length()) if 2**k <= last)})


def passes(method: Method, task: Task, trials: int = TRIALS) -> Passes:
    """Return the work of a search: that of each trial, and the tuning split's readings."""
    evaluations = len(evaluated_passes(method))
    one = method.passes(task) + Passes(forwards=2 * evaluations * len(task.held_back), readings=evaluations)
    # The first trial, of the defaults, is never pruned.
    times = 1 + TAKEN * (trials - 1) if gradual(method) else trials
    return one * times


@old_arguments(better="on_improvement")
def search(
    method: Method,
    task: Task,
    progress: Progress | None = None,
    *,
    trials: int = TRIALS,
    notes: Path | None = None,
    on_improvement: Improvement | None = None,
) -> SearchResult:
    """Search an algorithm's hyperparameters for this model and these rows, and unlearn with the best.

    It stops at the task's time limit with the best result so far. The first trial, with the method's present
    hyperparameters, is started in any case.

    Args:
        method: its hyperparameters are those of the first trial; those not in its ``space`` stay.
        task: with the tuning split.
        progress: shown each trial.
        trials: number of trials.
        notes: folder in which each finished trial is saved; a search that was killed continues from it. None to save
            nothing.
        on_improvement: called each time that a state is the best so far, with the seconds since the start, the model
            and its settings.

    Returns:
        The result.
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
                if on_improvement is not None:
                    on_improvement(time.perf_counter() - began, module, settings)
        done.append(trial.result(time.perf_counter() - began))
        if done[-1].score == best:
            record.keep(module)
        record.write(done)
        progress.advance()
        if task.time_is_up:
            break
    progress.finish()
    return SearchResult(module, settings, tuple(done))


class _Trial:
    """One trial: the states of one setting and their evaluations, until it ends or is pruned."""

    def __init__(self, method: Method, task: Task, tuner: Tuner, done: list[Tried], number: int) -> None:
        self.task, self.tuner, self.pruned = task, tuner, False
        self.trial, self.settings = _propose(method, done, number, task.seed)
        self.method: Any = replace(method, **self.settings)  # type: ignore[type-var]
        self.evaluated: list[Trial] = []
        self.scores: list[float] = []

    def states(self) -> Iterator[tuple[float, Trial]]:
        """Run the method and yield each evaluated state with its score."""
        evaluated_after = evaluated_passes(self.method)
        for number, module in enumerate(self._finite(), 1):
            if number not in evaluated_after:
                continue
            state = self.tuner.evaluate(self.settings | ({"epochs": number} if gradual(self.method) else {}), module)
            self.evaluated.append(replace(state, module=self.task.model))  # only the caller keeps the module
            self.scores.append(self.tuner.score(state))
            yield self.scores[-1], state
            self.trial.report(self.scores[-1], number)
            if self.trial.should_prune():
                self.pruned = True
                return

    def _finite(self) -> Iterator[nn.Module]:
        """Yield states until a value is not finite, which means that the setting is too strong."""
        try:
            yield from states(self.method, self.task)
        except NotFiniteError:
            if not self.evaluated:
                yield _nan_model(self.task)

    def result(self, seconds: float) -> Tried:
        """Return the finished trial."""
        best = self.evaluated[self.scores.index(min(self.scores))]
        return Tried(
            best.settings, self.tuner.relative(best.z), best.loss, tuple(self.scores), seconds, self.pruned
        )  # fmt: skip


def _nan_model(task: Task) -> nn.Module:
    """Return a model whose weights are all NaN, which the tuner rules out."""
    module = weights.clone(task.model)
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(torch.nan)
    return module


class _Record:
    """The finished trials and the best weights so far, saved in a folder; None saves nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def read(self) -> list[Tried]:
        """Return the saved trials."""
        if self.folder is None or not (self.folder / "trials.json").exists():
            return []
        return [Tried.from_dict(line) for line in atomic.read_json(self.folder / "trials.json")["trials"]]

    def write(self, done: list[Tried]) -> None:
        """Save the trials."""
        if self.folder is not None:
            atomic.write_json(self.folder / "trials.json", {"trials": [tried.to_dict() for tried in done]})

    def keep(self, module: nn.Module) -> None:
        """Save the best weights so far."""
        if self.folder is not None:
            weights.save(module, self.folder / "best.safetensors")

    def weights(self, original: nn.Module) -> nn.Module:
        """Return a copy of a model with the best weights so far."""
        assert self.folder is not None
        return weights.load_into(weights.clone(original), self.folder / "best.safetensors").eval()


def _propose(method: Method, done: list[Tried], number: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """Return Optuna's trial and its settings, given all trials before; the same if the search was killed between."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranges = space(method)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed + 7919 * number),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1),
    )
    distributions = {name: distribution(searched) for name, searched in ranges.items()}
    passes_of_scores = evaluated_passes(method)
    for tried in done:
        state = optuna.trial.TrialState.PRUNED if tried.pruned else optuna.trial.TrialState.COMPLETE
        intermediate = dict(zip(passes_of_scores, tried.scores, strict=False))
        study.add_trial(
            optuna.trial.create_trial(
                params={name: tried.settings[name] for name in ranges}, distributions=distributions,
                value=tried.score, intermediate_values=intermediate, state=state,
            )
        )  # fmt: skip
    if number == 0:
        study.enqueue_trial({name: getattr(method, name) for name in ranges})
    trial = study.ask(distributions)
    return trial, dict(trial.params)


@old_arguments(own="values")
def distribution(values: Range) -> Any:
    """Return a range as Optuna's distribution."""
    import optuna

    log = not values.even
    if values.whole:
        return optuna.distributions.IntDistribution(int(values.low), int(values.high), log=log and values.low >= 1)
    return optuna.distributions.FloatDistribution(values.low, values.high, log=log)
