"""What making a pool takes, foreseen, against what is then there."""

import time

import numpy as np
import pytest

from neuralyzer.errors import ReferencesError
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references import building, cost_estimate
from neuralyzer.references.pool import References
from neuralyzer.references.signal_values import Part
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training import backends
from neuralyzer.references.training.backends import Backend
from tests.references import world


def plan(size=16, **given):
    return building.Plan(**({
        "size": size, "leave_out": None, "groups": (), "backend": Backend.VECTORISED, "seed": 10_000,
        "keep_weights": False,
    } | given))  # fmt: skip


def test_before_anything_is_made(oracle, tmp_path):
    work = cost_estimate.estimate_cost(Store(tmp_path / "none"), oracle, plan())
    assert (work.untrained, work.unread) == (16, 16) and sorted(work.rows) == sorted(world.SIZES.tolist())
    assert work.train > 0 and work.read > 0 and work.share == pytest.approx(6 / 8, abs=0.02)
    assert work.timing.why == "vectorised: asked for"
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_finished_pool_leaves_nothing_to_do(oracle, kept, monkeypatch):
    monkeypatch.setattr(cost_estimate.backends, "timed", lambda *_: pytest.fail("timed for nothing"))
    work = cost_estimate.estimate_cost(kept.store, oracle, plan())
    assert (work.untrained, work.unread, work.timing) == (0, 0, None) and work.read > 0


def test_the_disk_holds_what_was_foreseen(oracle, kept):
    """Measurements and weights of the pool that kept them, to the size of a few small files."""
    work = cost_estimate.estimate_cost(kept.store, oracle, plan())
    there = [*kept.store.root.glob("signals/*.f32"), *kept.store.root.glob("members/*.safetensors")]
    assert work.disk == pytest.approx(sum(path.stat().st_size for path in there), rel=0.25)
    measured = sum(path.stat().st_size for path in kept.store.root.glob("signals/*.f32"))
    weights = 16 * sum(p.numel() * 4 for p in oracle.model.parameters())
    assert work.disk == measured + weights


def test_training_is_timed_once(oracle, tmp_path, monkeypatch):
    timing = cost_estimate.estimate_cost(Store(tmp_path / "none"), oracle, plan(backend=None)).timing
    monkeypatch.setattr(backends, "timed", lambda *_: pytest.fail("timed twice"))
    pool = References.fit(oracle, 16, workspace=tmp_path, timing=timing)
    assert pool.head["why"] == timing.why and pool.head["timing"] == {"step": timing.step, "single": timing.single}
    again = cost_estimate.estimate_cost(pool.store, oracle, plan(32, backend=None))
    assert (again.untrained, again.timing.step) == (16, timing.step)


def test_training_code_of_ones_own_takes_what_the_model_took(oracle, tmp_path):
    own = Recipe(build=world.classifier, train=lambda *_: world.classifier(), epochs=4, batch_size=16)
    model = TrainedModel(oracle.model, own, oracle.data, oracle.holdout)
    unknown = cost_estimate.estimate_cost(Store(tmp_path), model, plan(backend=None))
    assert unknown.train is None and unknown.retrain is None and unknown.timing.backend is Backend.PROCESSES
    known = cost_estimate.estimate_cost(Store(tmp_path), model, plan(backend=None), retrain=10.0)
    assert known.train == 10 / backends.workers() and known.retrain == 10


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"size": 17}, "two splits: 17 is odd"),
        ({"size": 8}, "use more references"),
        ({"size": 18}, r"these 16 references cannot grow by 2: .*\(0.75\), so it takes \d+ or more; ask for \d+$"),
        ({"size": 16, "leave_out": 0.3}, "another leave_out"),
    ],
)
def test_what_would_be_refused_is_refused_beforehand(oracle, kept, tmp_path, given, says):
    store = Store(tmp_path) if given["size"] == 8 else kept.store
    with pytest.raises(ReferencesError, match=says) as caught:
        cost_estimate.estimate_cost(store, oracle, plan(**given))
    assert "\n" not in str(caught.value)


def test_the_size_it_asks_for_can_be_had():
    keep = np.ones((32, 12), dtype=bool)
    keep[:13, :] = False  # a share of .4
    rows = np.full(12, 6)
    with pytest.raises(ReferencesError, match="so it takes 6 or more; ask for 38"):
        building.grown_design(keep, rows, plan(34))
    grown = building.grown_design(keep, rows, plan(38))
    assert grown.shape == (38, 12) and (~grown[32::2]).sum(0).min() >= 1


def test_reading_is_foreseen_within_reason(oracle, kept):
    """What a sample of rows and one unit take, scaled, is about what everything takes."""
    evaluator = kept.tuning.evaluator
    everything = [Part(subject, own) for subject, own in enumerate(kept.pool_index.owned)]

    def whole():
        began = time.perf_counter()
        evaluator.read_rows(oracle.model, evaluator.batch(np.arange(len(oracle.data))), evaluator.holdout)
        for part in everything:
            if part.subject in evaluator.units:
                evaluator.read(oracle.model, [part], ["relearned"])
        return time.perf_counter() - began

    whole()
    took = min(whole() for _ in range(3))
    foreseen = min(
        cost_estimate.reading_seconds(oracle, kept.pool_index.owned, kept.evaluator.signals) for _ in range(3)
    )
    assert took / 10 < foreseen < 10 * took
