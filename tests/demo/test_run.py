"""The demo's parts on small sizes: what its column of really retrained models says, and that it can be called again."""

import json
from dataclasses import replace

import pytest

import neuralyzer as nz
from neuralyzer.cli.app import app
from neuralyzer.demo import digits
from neuralyzer.demo import run as demo
from neuralyzer.models import reading
from neuralyzer.trace.estimator import TraceEstimator
from neuralyzer.verification.verify import verify
from tests.conftest import small_recipe

REQUEST = nz.ErasureRequest(subjects=["c0"])


def test_the_column_of_retrained_models_is_read_like_the_models_own(made_world):
    oracle = made_world.oracle
    references = made_world.references(oracle)
    rest = oracle.data.select(oracle.data.subjects != "c0")
    models = [nz.TrainedModel.fit(small_recipe(seed=seed), rest).model for seed in (501, 502)]
    estimator = TraceEstimator(references.evaluation, references.parts(REQUEST.positions(oracle.data)), 0.05)
    verified = [verify(model, oracle, REQUEST, references) for model in models]
    result = {
        "verification": verified[0].to_dict(),
        "utility": {"holdout_accuracy": {"original": 0.9, "unlearned": 0.9, "retrained": []}, "name": "accuracy"},
    }
    shown = demo.with_retrained(result, estimator, models, oracle.recipe, made_world.holdout)
    for place, row in enumerate(shown["verification"]["families"]):
        assert row["retrained"] == [found.families[place]["unlearned"] for found in verified]
    right = [reading.utility(model, oracle.recipe.objective, made_world.holdout) for model in models]
    assert shown["utility"]["holdout_accuracy"] == {"original": 0.9, "unlearned": 0.9, "retrained": right}
    assert result["verification"]["families"][0]["retrained"] == [], "the case's own result is left as it is"


def small(patch):
    """Fewer steps, and no more references than a verdict needs."""
    real = digits.recipe
    patch.setattr(digits, "recipe", lambda seed=0: replace(real(seed), epochs=60, batch_size=64))
    patch.setattr(demo, "REFERENCES", 48)
    patch.setattr(demo, "RETRAINED", 2)


@pytest.mark.slow
def test_the_demo_can_be_called_again_in_the_same_folder(tmp_path, capsys, monkeypatch):
    small(monkeypatch)
    results = []
    for _ in range(2):
        with pytest.raises(SystemExit) as left:
            app(["demo", "--json", "--out", str(tmp_path / "demo")])
        said = capsys.readouterr()
        assert (left.value.code, said.err) == (0, "")
        results.append(json.loads(said.out))
    assert results[0]["weights"]["original"] == results[1]["weights"]["original"]


@pytest.mark.slow
def test_the_demo_tells_its_story(tmp_path, capsys, monkeypatch):
    small(monkeypatch)
    with pytest.raises(SystemExit) as left:
        app(["demo", "--plain", "--method", "rollback", "--out", str(tmp_path / "demo")])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    story = [
        "The Oracle reads handwritten digits", "AIFinn demands", "located: 72 rows", "The Oracle holds", "options",
        "✓ test_accuracy", "verification, on the evaluation split", "holdout accuracy", "FORGOTTEN", "report",
    ]  # fmt: skip
    places = [said.find(word) for word in story]
    assert -1 not in places and places == sorted(places), list(zip(story, places, strict=True))
