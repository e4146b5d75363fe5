"""References that are read on paraphrased prompts: what is recorded, what is refused, and what they find."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import neuralyzer as nz
from neuralyzer.errors import ReferencesError, UsageError
from neuralyzer.models import training
from neuralyzer.models.kinds import causal_lm
from neuralyzer.trace.estimator import TraceEstimator
from tests.models.language_worlds import made_base, pairs, write
from tests.signals.test_paraphrased import Gated

AUTHORS = 12
ROWS = [row | {"id": f"r{k}"} for k, row in enumerate(pairs(AUTHORS, 4))]
OTHERS = [{"id": row["id"], "paraphrase": f"Tell us about {row['prompt'][9:]}"} for row in ROWS]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    made_base(folder / "base", steps=40)
    write(ROWS, folder / "rows.jsonl")
    write(OTHERS, folder / "others.jsonl")
    write(pairs(42, seed=5), folder / "holdout.jsonl")
    return folder


def rows(place, name="rows.jsonl", **settings):
    return nz.Data.from_texts(place / name, causal_lm.tokenizer_of(place / "base"), subject="author", **settings)


def model(place, paraphrases, epochs=1):
    recipe = nz.Recipe.causal_lm(place / "base", None, epochs=epochs, batch_size=8, learning_rate=3e-3)
    others = None if paraphrases is None else place / paraphrases
    return nz.TrainedModel.fit(recipe, rows(place, id="id", paraphrases=others), rows(place, "holdout.jsonl"))


@pytest.fixture(scope="module")
def oracle(place):
    return model(place, "others.jsonl")


@pytest.fixture(scope="module")
def pool(place, oracle):
    return nz.References.fit(oracle, 16, workspace=place / "workspace", backend="processes", signals=["paraphrased"])


def left_of(oracle):
    return replace(oracle, data=oracle.data.select(np.arange(4, len(oracle.data))))


def other_data(oracle, place, others):
    write(others, place / "changed.jsonl")
    return replace(oracle, data=rows(place, id="id", paraphrases=place / "changed.jsonl"))


def test_the_paraphrases_are_recorded(pool, oracle, place):
    assert "paraphrased" in pool.evaluator.signals and len(pool.head["paraphrases"]) == 64
    values = pool.tuning.values.signals
    assert np.isfinite(values["paraphrased"].rows).all()
    assert (values["paraphrased"].rows != values["margin"].rows).all()
    np.testing.assert_allclose(values["paraphrased"].holdout, values["margin"].holdout, rtol=1e-5)
    assert nz.References.open(pool.store.root, oracle).digest == pool.digest


def test_other_paraphrases_are_refused(pool, oracle, place):
    changed = other_data(oracle, place, [*OTHERS[:3], OTHERS[3] | {"paraphrase": "Which book?"}, *OTHERS[4:]])
    with pytest.raises(ReferencesError, match=r"read on other paraphrases: those of row 'r3' have changed since \(1 "):
        nz.References.open(pool.store.root, changed)
    with pytest.raises(ReferencesError, match="r3"):
        nz.References.fit(changed, 16, workspace=place / "workspace", signals=["paraphrased"])
    nz.References.open(pool.store.root, other_data(oracle, place, OTHERS[::-1]))
    without = replace(oracle, data=rows(place, id="id"))
    with pytest.raises(ReferencesError, match="were read on paraphrased prompts; name their file by paraphrases"):
        nz.References.open(pool.store.root, without)


def test_they_are_asked_for_before_anything_is_trained(oracle, place, tmp_path):
    without = replace(oracle, data=rows(place, id="id"))
    with pytest.raises(UsageError, match="the signal paraphrased needs paraphrased prompts; name their file"):
        nz.References.fit(without, 16, workspace=tmp_path, signals=["paraphrased"])
    assert not list(tmp_path.rglob("*.npy"))
    long = [OTHERS[0] | {"paraphrase": "garden " * 200}]
    with pytest.raises(UsageError, match=r"have a row of \d+ tokens, and the base reads 128"):
        model(place, write(long, place / "long.jsonl").name)


def test_paraphrases_of_erased_rows_need_not_be_kept(pool, oracle, place, tmp_path):
    root = shutil.copytree(pool.store.root, tmp_path / "references" / pool.store.root.name)
    copied = nz.References.open(root, oracle)
    copied.erase(np.arange(4), "case")
    assert nz.References.open(root, left_of(oracle)).pool_index.paraphrases[:4].tobytes() == bytes(4 * 32)
    write(ROWS[4:], place / "left.jsonl")
    write(OTHERS[4:], place / "changed.jsonl")
    data = rows(place, "left.jsonl", id="id", paraphrases=place / "changed.jsonl")
    assert nz.References.open(root, replace(oracle, data=data)).size == 16


@pytest.mark.slow
def test_a_trace_behind_the_exact_wording_is_found(place):
    oracle = model(place, "others.jsonl", epochs=25)
    pool = nz.References.fit(oracle, 24, workspace=place / "long", leave_out=0.5, signals=["paraphrased"])
    request = nz.ErasureRequest(subjects=["a00", "a01"])
    positions = request.positions(oracle.data)
    retrained = training.train(oracle.recipe, oracle.data.select(np.setdiff1d(np.arange(48), positions)), seed=1)
    x, _ = oracle.data.gather(positions)
    prompts = {tuple(ids[: int(m.argmax())].tolist()) for ids, m in zip(x["input_ids"], x["target_mask"], strict=True)}
    estimator = TraceEstimator(pool.evaluation, pool.parts(positions), 0.05)
    traces = {
        what: {name: estimator.read(module).traces[name] for name in ("margin", "paraphrased")}
        for what, module in (
            ("original", oracle.model), ("retrained", retrained), ("gated", Gated(oracle.model, retrained, prompts)),
        )
    }  # fmt: skip
    print({what: {name: (t.trace, t.detectable, t.p_value) for name, t in of.items()} for what, of in traces.items()})
    assert traces["original"]["margin"].p_value < 0.05 and traces["original"]["paraphrased"].p_value < 0.05
    assert traces["gated"]["margin"].p_value > 0.05 and traces["gated"]["paraphrased"].p_value < 0.05
    assert traces["retrained"]["paraphrased"].p_value > 0.05
