"""Which signals see what a method hid: on a small language model, its members, and models that only seem to forget.

A model of 40,000 parameters learns 160 questions about 16 invented authors; 24 members lack half of them each. For some
of the authors the model is retrained without them, or treated by a method that stops where the margin of the author's
rows is that of members that never saw them. Each signal then reads what is left, and is timed. Two settings that are
not in the catalogue are read beside them: weights rounded to 8 bits, and a shorter relearning elsewhere.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from benchmarks import results
from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.methods import catalogue
from neuralyzer.models import training
from neuralyzer.models.kinds import causal_lm
from neuralyzer.models.reading import called
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.rounding import rounded
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.pool import References
from neuralyzer.references.signal_values import SignalValues
from neuralyzer.signals import catalogue as signals_catalogue
from neuralyzer.signals.margin import margins
from neuralyzer.signals.relearned_elsewhere import RelearnedElsewhere
from neuralyzer.signals.relearning import STEPS, relearn
from neuralyzer.signals.rounded import Rounded
from neuralyzer.signals.signal import Signal
from neuralyzer.trace.estimator import TraceEstimator, signal_trace
from neuralyzer.unlearning.method import states
from neuralyzer.unlearning.task import Task
from neuralyzer.workspace import atomic
from tests.models.language_worlds import made_base, pairs, write

AUTHORS, EACH, HOLDOUT, MEMBERS, ASKED, EPOCHS = 16, 10, 20, 24, 6, 40
ALPHA = 0.05
HIDERS = {"gradient-ascent": (0.01, 0.03, 0.1), "npo": (0.1, 0.3, 1.0), "neggrad-plus": (0.1, 0.3, 1.0)}
PASSES, PRETRAINED = 15, 600


class Rounded8(Rounded):
    """The same with 8 bits."""

    name = "rounded to 8 bits"

    def measure(self, model, rows, holdout, context):  # type: ignore[no-untyped-def]
        other = called(model.eval(), rounded(model, 8))
        return margins(other, rows, context), margins(other, holdout, context)


class Shorter(RelearnedElsewhere):
    """The same with the steps by which its rate is found alone."""

    name = "relearned elsewhere for 4 steps"

    def measure(self, model, rows, holdout, context):  # type: ignore[no-untyped-def]
        rate = context.settings["relearned-elsewhere"]["rate"]
        other = relearn(model, context.elsewhere, context, rate, STEPS)
        return margins(other, rows, context), margins(other, holdout, context)


VARIANTS: tuple[Signal, ...] = (Rounded8(), Shorter())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", choices=["llama", "gpt2"], default="llama")
    parser.add_argument("--lora", action="store_true", help="train adapters in place of all weights")
    parser.add_argument("--workspace", type=Path, help="keeps what was made, so that a stopped run goes on")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        name = "language_signals" + ("_lora" if arguments.lora else "") + ("" if arguments.base == "llama" else "_gpt2")
        results.write(name, measure(arguments.workspace or Path(folder), arguments.base, arguments.lora))


def measure(place: Path, architecture: str, lora: bool) -> dict[str, object]:
    oracle = original(place, architecture, lora)
    also = [name for name, signal in signals_catalogue.signals().items() if getattr(signal, "optional", False)]
    references = References.fit(oracle, MEMBERS, workspace=place, backend="processes", keep_weights=True, signals=also)
    tuning, evaluation = (with_variants(references, which) for which in (0, 1))
    lines = []
    for author in sorted(set(oracle.data.subjects))[:ASKED]:
        path = place / f"{author}.json"
        if not path.exists():
            atomic.write_json(path, read_author(oracle, references, tuning, evaluation, author))
        lines += atomic.read_json(path)
    figures: dict[str, dict[str, object]] = defaultdict(dict)
    for what, name in dict.fromkeys((line["model"], line["signal"]) for line in lines):
        figures[what][name] = summary([line for line in lines if (line["model"], line["signal"]) == (what, name)])
    return {
        "traces": figures,
        "seconds": seconds(oracle, evaluation), "training_seconds": round(float(oracle.seconds or np.nan), 2),
        "settings": references.head["settings"],
    }  # fmt: skip


def read_author(
    oracle: TrainedModel, references: References, tuning: ReferenceSplit, evaluation: ReferenceSplit, author: str
) -> list[dict[str, Any]]:
    """What each signal finds of an author in each model, on the evaluation split."""
    request = ErasureRequest(subjects=[author])
    estimator = TraceEstimator(evaluation, references.parts(request.positions(oracle.data)), ALPHA)
    return [
        {
            "model": what, "signal": name, "trace": trace.trace, "detectable": trace.detectable,
            "found": bool(trace.p_value <= ALPHA),
        }
        for what, module in models(oracle, references, tuning, request)
        for name, trace in estimator.read(module).traces.items()
    ]  # fmt: skip


def original(place: Path, architecture: str, lora: bool) -> TrainedModel:
    """The model that learned all authors."""
    base = place / "base"
    if not base.exists():
        made_base(base, architecture, steps=PRETRAINED)
    tokenizer = causal_lm.tokenizer_of(base)

    def read(authors: int, seed: int, name: str) -> Data:
        return Data.from_texts(write(pairs(authors, EACH, seed), place / name), tokenizer, subject="author")

    adapters = {"r": 32, "alpha": 64} if lora else None
    recipe = Recipe.causal_lm(base, adapters, epochs=EPOCHS, learning_rate=5e-3 if lora else 3e-3, batch_size=16)
    return TrainedModel.fit(recipe, read(AUTHORS, 3, "train.jsonl"), read(HOLDOUT, 11, "holdout.jsonl"))


def with_variants(references: References, which: int) -> ReferenceSplit:
    """A split whose members were read by the variants too."""
    split = references.evaluation if which else references.tuning
    evaluator, signals = split.evaluator, dict(split.values.signals)
    rows = evaluator.batch(np.arange(len(evaluator.data)))
    for signal in VARIANTS:
        members = [references.member(number).eval() for number in range(which, references.size, 2)]
        read = [signal.measure(member, rows, evaluator.holdout, evaluator.context) for member in members]
        on_rows, on_holdout = (np.stack([part[k].double().numpy() for part in read]) for k in (0, 1))
        signals[signal.name] = SignalValues(on_rows, on_holdout)
    more = dict(evaluator.signals) | {signal.name: signal for signal in VARIANTS}
    return replace(split, values=replace(split.values, signals=signals), evaluator=replace(evaluator, signals=more))


def models(
    oracle: TrainedModel, references: References, tuning: ReferenceSplit, request: ErasureRequest
) -> Iterator[tuple[str, nn.Module]]:
    """The original, a model retrained without the rows, and models of which the margin alone is that of such a one."""
    yield "original", oracle.model
    positions = request.positions(oracle.data)
    left = np.setdiff1d(np.arange(len(oracle.data)), positions)
    yield "retrained", training.train(oracle.recipe, oracle.data.select(left), seed=1)
    task, parts = Task(oracle, request, references), references.parts(positions)
    for name, rates in HIDERS.items():
        best, nearest = oracle.model, np.inf
        for rate in rates:
            method: Any = replace(catalogue.make(name), epochs=PASSES, rate=rate)
            for module in states(method, task):
                trace = abs(signal_trace(tuning, parts, ALPHA, "margin", module) or 0.0)
                if trace < nearest:
                    best, nearest = module, trace
        yield name, best


def summary(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    trace, detectable, found = (np.array([line[key] for line in lines]) for key in ("trace", "detectable", "found"))
    return {
        "trace": round(float(trace.mean()), 2), "spread": round(float(trace.std(ddof=1)), 2),
        "detectable": round(float(np.median(detectable)), 2), "found": int(found.sum()), "of": len(lines),
    }  # fmt: skip


def seconds(oracle: TrainedModel, split: ReferenceSplit) -> dict[str, float]:
    """Seconds in which each signal reads a model on all rows and the holdout."""
    evaluator, taken = split.evaluator, {}
    rows = evaluator.batch(np.arange(len(evaluator.data)))
    units = [evaluator.batch(own) for own in evaluator.units.values()]
    for name, signal in evaluator.signals.items():
        began = time.perf_counter()
        if signal.per_unit:
            signal.measure_units(oracle.model, units, evaluator.holdout_few, evaluator.context)  # type: ignore[attr-defined]
        else:
            signal.measure(oracle.model, rows, evaluator.holdout, evaluator.context)
        taken[name] = round(time.perf_counter() - began, 3)
    return taken


if __name__ == "__main__":
    main()
