"""Rolling a loop of the user's own back: against that loop without the rows, and a recipe that is not the loop's."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.models import weights
from neuralyzer.unlearning.method import obstacle

X = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)
DATA = nz.Data.from_arrays(X, (X[:, 0] > 0).astype(int), subjects=np.arange(120) // 10)
LATE = np.arange(100, 120)  # subjects 10 and 11 are seen in the second phase alone


def build():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.05, momentum=0.9)


RECIPE = nz.Recipe(build, optimizer=sgd, epochs=4, batch_size=10)


def batches():
    generator = np.random.default_rng(1)
    for rows in [np.arange(100)] * 2 + [np.arange(120)] * 2:
        yield from np.split(generator.permutation(rows), len(rows) // 10)


def loop(model, optimizer, steps, after=lambda batch: None, clip=None):
    for batch in steps:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(DATA.x[batch]), DATA.y[batch]).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        after(batch)
    return model


def recorded(folder, every=8, with_optimizer=True, clip=None):
    torch.manual_seed(3)
    model = build()
    optimizer = sgd(model.parameters())
    with nz.record(folder, model, DATA, every, optimizer if with_optimizer else None) as run:
        loop(model, optimizer, batches(), lambda batch: run.step(DATA.ids[batch]), clip)
    return nz.TrainedModel(model, RECIPE, DATA, None, run=folder)


def task(oracle, subject="11"):
    return nz.Task(oracle, nz.ErasureRequest(subjects=[subject]))


def test_it_is_the_loop_without_the_rows(tmp_path):
    oracle = recorded(tmp_path / "run")
    asked = task(oracle)
    assert asked.checkpoint.step == 16  # the second phase begins at step 20
    got = catalogue.make("rollback").unlearn(asked)
    torch.manual_seed(3)
    expected = build()
    kept = (batch[~np.isin(batch, np.arange(110, 120))] for batch in batches())
    loop(expected, sgd(expected.parameters()), kept)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(got.state_dict()[name], value, rtol=0, atol=1e-6)
    assert asked.training_audit.forget_rows == 0 and asked.training_audit.steps == 44 - 16


def scaled(optimizer, steps):
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, total_iters=100)


def noisy(x, generator):
    return x + torch.randn(x.shape, generator=generator)


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": scaled},
        {"augment": noisy},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_recipe_that_is_not_the_loops_is_refused(tmp_path, change):
    oracle = recorded(tmp_path / "run")
    with pytest.raises(UsageError, match=r"does not repeat the steps of run run: .* from checkpoint 40 "):
        catalogue.make("rollback").unlearn(task(replace(oracle, recipe=replace(RECIPE, **change))))


def test_a_loop_that_does_more_than_the_recipe_is_refused(tmp_path):
    oracle = recorded(tmp_path / "run", clip=0.1)
    with pytest.raises(UsageError, match="does not repeat"):
        catalogue.make("rollback").unlearn(task(oracle))


def test_a_case_turns_to_retraining_then(tmp_path):
    oracle = replace(recorded(tmp_path / "runs" / "run"), recipe=replace(RECIPE, schedule=scaled))
    case = nz.forget(oracle, nz.ErasureRequest(subjects=["11"]), workspace=tmp_path, method="rollback")
    first, second = case.result["unlearning"]["attempts"]
    assert first["method"] == "rollback" and "does not repeat" in first["reason"]
    assert second["method"] == case.result["unlearning"]["method"] == "retrain"


def test_without_the_optimizers_state_there_is_no_checkpoint(tmp_path):
    with pytest.raises(UsageError, match="no checkpoint with an optimizer's state"):
        catalogue.make("rollback").unlearn(task(recorded(tmp_path / "run", with_optimizer=False)))


OF_A_RUN = ("rollback", "amnesiac", "checkpoint-arithmetic", "rewind")


@pytest.mark.parametrize("name", OF_A_RUN)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda oracle: {"model": noisy_copy(oracle.model)}, "ended in other weights than the model's"),
        (lambda oracle: {"recipe": replace(oracle.recipe, epochs=5)}, "was trained by another recipe"),
    ],
    ids=["weights", "recipe"],
)
def test_no_algorithm_takes_the_run_of_another_model(tmp_path, name, change, says):
    """A rollback of another model's run would be called exact."""
    oracle = recorded(tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    known = json.dumps(facts | {"recipe": oracle.recipe.digest})
    (tmp_path / "run" / "run.json").write_text(known)
    assert says not in str(obstacle(catalogue.make(name), task(oracle)))
    other = task(replace(oracle, **change(oracle)))
    assert says in obstacle(catalogue.make(name), other)


def noisy_copy(module):
    other = weights.clone(module)
    with torch.no_grad():
        next(other.parameters()).add_(1e-4)
    return other
