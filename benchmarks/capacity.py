"""How many workers answer so many requests a month within their due dates: a simulation of discrete events.

Requests come at random moments (a Poisson process) for some models. The schedule is the service's own
(``service.deadlines``). How long a run takes is measured on real cases, see ``stage_seconds``: a part for the run and a
part for each request in it, each a fixed time plus a multiple of the model's training time.
"""

import datetime as dt
import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import results, stage_seconds
from neuralyzer.service.deadlines import Waiting, begins, due, next_batch

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = 86_400.0
WARM, MEASURED = 30, 60  # days
RATES = (300, 3_000, 30_000)  # requests in 30 days
TRAININGS = {"a minute": 60.0, "an hour": 3_600.0, "a day": DAY}
BATCH_DAYS = (0.0, 5.0)
MODELS = (1, 10)
LATE = 0.001  # share of late answers that still counts as held
MOST_WORKERS = 64
MOST_WAITING = 1_000  # requests of a model beyond those that wait for a batch; a queue that grows longer has no end


@dataclass(frozen=True)
class Durations:
    """Seconds of a run: ``fixed + of_training * T`` for the run, and the same for each request in it."""

    run_fixed: float
    run_of_training: float
    request_fixed: float
    request_of_training: float

    def of(self, training: float, requests: int) -> float:
        run = self.run_fixed + self.run_of_training * training
        return run + requests * (self.request_fixed + self.request_of_training * training)


@dataclass
class Model:
    """A model's requests that wait, and whether a worker has it."""

    waiting: dict[str, Waiting] = field(default_factory=dict)
    busy: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of the requests that came in after the warm-up."""

    late: float  # share
    median_days: float
    p99_days: float
    used: float  # share of the workers' time
    stuck: bool  # a queue grew without end

    @property
    def holds(self) -> bool:
        return not self.stuck and self.late <= LATE


class Simulation:
    """One service over ``WARM + MEASURED`` days."""

    def __init__(
        self, rate: int, models: int, workers: int, training: float, batch_days: float, durations: Durations, seed: int
    ) -> None:
        self.training, self.batch_days, self.durations = training, batch_days, durations
        self.models, self.free, self.workers = [Model() for _ in range(models)], workers, workers
        self.generator = np.random.default_rng(seed)
        self.events: list[tuple[float, int, str, Any]] = []
        self.count = itertools.count()
        self.answers: list[tuple[float, float, bool]] = []  # came in, answered, late
        self.used, self.stuck = 0.0, False
        self.most = MOST_WAITING + rate / 30 / models * batch_days
        for moment in self._arrivals(rate):
            self._at(moment, "came", int(self.generator.integers(models)))

    def run(self) -> Outcome:
        end = (WARM + MEASURED) * DAY
        while self.events and not self.stuck:
            now, _, kind, what = heapq.heappop(self.events)
            if now > end + 120 * DAY:
                break
            if kind == "came":
                self._came(now, what)
            elif kind == "done":
                self._done(now, *what)
            elif what[1] in what[0].waiting:  # its batch has not begun
                self._begin(now)
        counted = [one for one in self.answers if one[0] >= WARM * DAY]
        missing = sum(len(model.waiting) for model in self.models)
        late = (sum(late for _, _, late in counted) + missing) / max(len(counted) + missing, 1)
        share = self.used / (self.workers * end)
        if not counted:
            return Outcome(late, np.inf, np.inf, share, stuck=True)
        days = np.array([(answered - came) / DAY for came, answered, _ in counted])
        return Outcome(late, float(np.median(days)), float(np.quantile(days, 0.99)), share, self.stuck or missing > 0)

    def _arrivals(self, rate: int) -> Iterator[float]:
        moment = 0.0
        while True:
            moment += float(self.generator.exponential(30 * DAY / rate))
            if moment >= (WARM + MEASURED) * DAY:
                return
            yield moment

    def _at(self, moment: float, kind: str, what: Any) -> None:
        heapq.heappush(self.events, (moment, next(self.count), kind, what))

    def _came(self, now: float, model: int) -> None:
        received = START + dt.timedelta(seconds=now)
        one = Waiting(f"{next(self.count):09d}", received, due(received.date()))
        own = self.models[model]
        own.waiting[one.id] = one
        self.stuck = len(own.waiting) > self.most
        if self.batch_days:
            self._at(
                (begins([one], self.batch_days, self._longest()) - START).total_seconds() + 1, "look", (own, one.id)
            )
        else:
            self._begin(now)

    def _longest(self) -> float:
        return self.durations.of(self.training, 1)

    def _begin(self, now: float) -> None:
        if not self.free:
            return
        moment = START + dt.timedelta(seconds=now)
        for model in sorted((m for m in self.models if m.waiting and not m.busy), key=_earliest):
            if not self.free:
                return
            chosen = next_batch(list(model.waiting.values()), moment, self.batch_days, self._longest())
            if chosen:
                taken = [model.waiting.pop(one) for one in chosen]
                seconds = self.durations.of(self.training, len(taken))
                model.busy, self.free, self.used = True, self.free - 1, self.used + seconds
                self._at(now + seconds, "done", (model, taken))

    def _done(self, now: float, model: Model, taken: list[Waiting]) -> None:
        model.busy, self.free = False, self.free + 1
        for one in taken:
            end = dt.datetime.combine(one.due, dt.time.max, dt.UTC)
            late = START + dt.timedelta(seconds=now) > end
            self.answers.append(((one.received - START).total_seconds(), now, late))
        self._begin(now)


def _earliest(model: Model) -> dt.date:
    return min(one.due for one in model.waiting.values())


def smallest(rate: int, models: int, training: float, batch_days: float, durations: Durations) -> dict[str, Any]:
    """Return the smallest number of workers that holds, by doubling and halving, with what it then comes to."""

    def outcome(workers: int) -> Outcome:
        return Simulation(rate, models, workers, training, batch_days, durations, seed=1).run()

    most = min(models, MOST_WORKERS)  # the runs of one model follow one another
    last = outcome(most)
    if not last.holds:
        return {"workers": None, "late": round(last.late, 4), "used": round(last.used, 3)}
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        tried = outcome(middle)
        low, high, last = (low, middle, tried) if tried.holds else (middle + 1, high, last)
    found = outcome(high)
    return {
        "workers": high, "late": round(found.late, 4), "median_days": round(found.median_days, 2),
        "p99_days": round(found.p99_days, 2), "used": round(found.used, 3),
    }  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    durations = Durations(**results.read("stage_seconds")["durations"])
    cells = []
    for rate, models, (name, training), batch_days in itertools.product(RATES, MODELS, TRAININGS.items(), BATCH_DAYS):
        found = smallest(rate, models, training, batch_days, durations)
        cells.append({"requests": rate, "models": models, "training": name, "batch_days": batch_days, **found})
        print(cells[-1], flush=True)
    results.write("capacity", {"cells": cells, "source": stage_seconds.__name__})


if __name__ == "__main__":
    main()
