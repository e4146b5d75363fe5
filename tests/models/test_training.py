"""Training against a loop written out, and what makes it deterministic."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError, UsageError, WeightsError
from neuralyzer.models import training, weights
from neuralyzer.models.classification import Classification
from neuralyzer.models.recipe import Recipe
from neuralyzer.registry.history import History
from neuralyzer.registry.record import Recorder
from tests.models.cases import CASES, mlp, normed
from tests.naming import named

X, Y = CASES["mlp"].rows(50)
DATA = Data.from_arrays(X, Y)


def same(a, b):
    return all(torch.equal(a.state_dict()[name], value) for name, value in b.state_dict().items())


def written_out(loss=nn.functional.cross_entropy, clip=None, average=None, bf16=False):
    """Training by torch's own parts: three epochs in batches of 16."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = mlp()
    optimizer, generator = torch.optim.AdamW(module.parameters(), 1e-3), torch.Generator().manual_seed(5)
    mean = None
    if average is not None:
        mean = torch.optim.swa_utils.AveragedModel(module, avg_fn=lambda a, now, _: average * a + (1 - average) * now)
        mean.update_parameters(module)  # the first update copies
    for _ in range(3):
        for batch in torch.randperm(50, generator=generator).split(16):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                outputs = module(X[batch])
                own = loss(outputs, Y[batch])
            own.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()
            if mean is not None:
                mean.update_parameters(module)
    return module if mean is None else mean.module


WEIGHTS = (2.0, 0.5, 0.5, 1.0)
DECLARED = {
    "clip": ({"clip": 0.05}, {"clip": 0.05}),
    "average": ({"average": 0.9}, {"average": 0.9}),
    "mixed precision": ({"precision": "bf16"}, {"bf16": True}),
    "smoothing": (
        {"objective": Classification(label_smoothing=0.1)},
        {"loss": lambda z, y: nn.functional.cross_entropy(z, y, label_smoothing=0.1)},
    ),
    "class weights": (
        {"objective": Classification(class_weights=WEIGHTS)},
        {"loss": lambda z, y: nn.functional.cross_entropy(z, y, torch.tensor(WEIGHTS, dtype=z.dtype), reduction="none").mean()},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DECLARED)
def test_what_people_do_in_training_can_be_declared(kind):
    given, plain = DECLARED[kind]
    own, want = training.train(Recipe(build=mlp, epochs=3, batch_size=16, seed=5, **given), DATA), written_out(**plain)
    for name, value in want.state_dict().items():
        torch.testing.assert_close(own.state_dict()[name], value, rtol=0, atol=1e-6)
    assert not same(own, written_out()), "it makes a difference"


@pytest.mark.parametrize("kind", DECLARED)
def test_what_is_declared_is_part_of_the_recipe_and_what_is_not_changes_no_digest(kind):
    given, _ = DECLARED[kind]
    assert Recipe(build=mlp, **given).digest != Recipe(build=mlp).digest
    assert Recipe(build=mlp, objective=Classification(), clip=None).digest == Recipe(build=mlp).digest


@pytest.mark.parametrize(
    ("given", "wrong"),
    [({"clip": 0.0}, "clip"), ({"average": 1.0}, "average"), ({"average": 0}, "average"), ({"precision": "fp8"}, "precision")],
)  # fmt: skip
def test_what_cannot_be_declared(given, wrong):
    with pytest.raises(UsageError, match=wrong):
        Recipe(build=mlp, **given)


def test_an_average_cannot_be_gone_on_with():
    recipe = Recipe(build=mlp, epochs=3, batch_size=16, average=0.9)
    module = recipe.module()
    steps = training.run_steps(recipe, module, recipe.optimizer(module.parameters()), DATA, iter([]), 0, done=4)
    with pytest.raises(UsageError, match="cannot be gone on with"):
        next(steps)


def test_the_order_of_rows():
    steps = list(training.order(10, 3, 4, seed=1))
    assert [len(step) for step in steps] == [4, 4, 2] * 3
    passes = [np.concatenate(steps[at : at + 3]) for at in (0, 3, 6)]
    assert all(sorted(one) == list(range(10)) for one in passes) and not (passes[0] == passes[1]).all()
    assert all((a == b).all() for a, b in zip(steps, training.order(10, 3, 4, seed=1), strict=True))
    assert any((a != b).any() for a, b in zip(steps, training.order(10, 3, 4, seed=2), strict=True))
    assert training.steps_of(Recipe(build=mlp, epochs=3, batch_size=4), 10) == 9


def cosine(optimizer, steps):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


@pytest.mark.parametrize("schedule", [None, cosine], ids=["constant", "schedule"])
def test_training_is_the_loop_written_out(schedule):
    recipe = Recipe(build=mlp, epochs=3, batch_size=16, seed=5, schedule=schedule)
    got = training.train(recipe, DATA)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = mlp()
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
    rate = schedule(optimizer, 12) if schedule else None
    generator = torch.Generator().manual_seed(5)
    for _ in range(3):
        for batch in torch.randperm(50, generator=generator).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(X[batch]), Y[batch]).backward()
            optimizer.step()
            if rate:
                rate.step()
    assert not got.training
    for name, value in module.state_dict().items():
        torch.testing.assert_close(got.state_dict()[name], value, rtol=0, atol=1e-6)


def dropping():
    return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 4))


def jitter(x, generator):
    return x + torch.randn(x.shape, generator=generator)


@pytest.mark.parametrize("given", [{}, {"augment": jitter}, {"build": dropping}, {"build": normed}], ids=named)
def test_a_seed_gives_the_weights_bit_by_bit(given):
    recipe = Recipe(**({"build": mlp, "epochs": 2, "batch_size": 16} | given))
    torch.manual_seed(123)
    first = training.train(recipe, DATA, seed=3)
    torch.manual_seed(321)
    torch.rand(7)
    second = training.train(recipe, DATA, seed=3)
    assert same(first, second) and not same(first, training.train(recipe, DATA, seed=4))


def test_augmentation_is_applied():
    plain, changed = (
        training.train(Recipe(build=mlp, epochs=1, batch_size=16, augment=augment), DATA) for augment in (None, jitter)
    )
    assert not same(plain, changed)


def test_going_on_where_the_schedule_was_left():
    recipe = Recipe(build=mlp, epochs=2, batch_size=25, schedule=cosine)
    module = recipe.module(0)
    optimizer = torch.optim.SGD(module.parameters(), 0.5)
    steps = iter([np.arange(5)])
    list(training.run_steps(recipe, module, optimizer, DATA, steps, 0, done=2))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25 * (1 + np.cos(np.pi * 3 / 4)))


def linear(optimizer, steps):
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=steps)


def halving(optimizer, steps):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)


@pytest.mark.parametrize("schedule", [cosine, linear, halving])
def test_going_on_from_a_recorded_optimizer(tmp_path, schedule):
    """Its state has a rate that the schedule brought down already: it is not brought down again."""
    recipe = Recipe(build=mlp, epochs=3, batch_size=10, schedule=schedule)
    recorder = Recorder(tmp_path / "run", DATA, every=4, seed=0)
    module = training.train(recipe, DATA, observer=recorder)
    recorder.finish(module)
    history = History.read(tmp_path / "run")
    start = history.checkpoints[2]
    again = recipe.module()
    optimizer = recipe.optimizer(training.trainable(again))
    history.load(start, again, optimizer)
    list(training.run_steps(recipe, again, optimizer, DATA, history.batches_from(8), 0, done=start.step))
    assert start.step == 8 and same(again, module)


class Noting:
    def __init__(self):
        self.begun, self.rows = 0, []

    def begin(self, module, optimizer):
        self.begun += 1

    def step(self, positions):
        self.rows.append(positions)


def test_an_observer_sees_every_row_of_every_pass():
    noting = Noting()
    training.train(Recipe(build=mlp, epochs=2, batch_size=16), DATA, observer=noting)
    assert noting.begun == 1 and len(noting.rows) == 8
    assert sorted(np.concatenate(noting.rows[:4])) == list(range(50))


def test_own_training_code():
    def own(data, seed, device, progress):
        module = mlp()
        nn.init.constant_(module[2].bias, seed + len(data))
        return module

    got = training.train(Recipe(build=mlp, train=own), DATA, seed=7)
    assert got[2].bias.tolist() == [57.0] * 4 and not got.training
    with pytest.raises(WeightsError, match="what the recipe's train returned does not fit"):
        training.train(Recipe(build=mlp, train=lambda *_: nn.Linear(2, 2)), DATA)


SCRIPT = """
import sys, pyarrow.parquet, safetensors.torch, torch
rows, seed, weights = sys.argv[1:]
ids = pyarrow.parquet.read_table(rows)["id"].to_pylist()
assert ids == [f"row-{at}" for at in reversed(range(50))], "in the order of the data"
state = {"weight": torch.full((1, 1), float(len(ids))), "bias": torch.full((1,), float(seed))}
safetensors.torch.save_file(state, weights)
"""


def test_own_training_command(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(SCRIPT)
    command = f"{sys.executable} {script} {{rows}} {{seed}} {{weights}}"
    data = Data.from_arrays(X, Y, ids=[f"row-{at}" for at in range(50)]).select(np.arange(50)[::-1])
    got = training.train(Recipe(build=lambda: nn.Linear(1, 1), command=command), data, seed=3)
    assert got.weight.item() == 50 and got.bias.item() == 3


FAILING = """
import sys, torch, safetensors.torch
def save(state):
    whole = {{}} if "weight" in state else safetensors.torch.load_file("{whole}")
    safetensors.torch.save_file(whole | state, sys.argv[2])
"""


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("raise SystemExit('no such column')", UsageError, "exited 1: no such column"),
        ("import os; os.abort()", UsageError, "exited -6: no message"),
        ("", WeightsError, "wrote no weights"),
        ("open(sys.argv[2], 'w').write('weights')", WeightsError, "'[^']+' wrote is not a whole safetensors file"),
        ("save({'weight': torch.ones(2)})", WeightsError, "'[^']+' wrote does not fit the recipe: 0.bias is missing"),
        ("save({'2.bias': torch.ones(7)})", WeightsError, "'[^']+' wrote does not fit the recipe"),
        ("save({'2.bias': torch.full((4,), torch.nan)})", WeightsError, "'[^']+' wrote holds NaN or infinite values"),
    ],
)
def test_a_training_command_that_fails(tmp_path, script, error, message):
    weights.save(mlp(), tmp_path / "whole.safetensors")
    (tmp_path / "own.py").write_text(FAILING.format(whole=tmp_path / "whole.safetensors") + script)
    recipe = Recipe(build=mlp, command=f"{sys.executable} {tmp_path / 'own.py'} {{rows}} {{weights}} {{seed}}")
    with pytest.raises(error, match=message) as raised:
        training.train(recipe, DATA)
    assert "\n" not in str(raised.value)


def test_a_training_command_that_cannot_be_run():
    with pytest.raises(UsageError, match="'/none/such' cannot be run"):
        training.train(Recipe(build=mlp, command="/none/such {rows} {seed} {weights}"), DATA)


def test_divergence_is_seen_at_the_end_of_the_pass():
    recipe = Recipe(build=dropping, optimizer=lambda ps: torch.optim.SGD(ps, 1e30), epochs=5, batch_size=16)
    with pytest.raises(NotFiniteError, match="after 4 steps; lower the rate"):
        training.train(recipe, DATA)


def test_weights_survive_the_disk(tmp_path):
    module = training.train(Recipe(build=normed, epochs=1, batch_size=16), DATA)
    again = weights.load_into(normed(), weights.save(module, tmp_path / "w.safetensors"))
    assert same(module, again) and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("rows", "steps"), [(33, 4), (34, 5), (32, 4)])
def test_a_last_batch_of_one_row_is_left_out_before_batchnorm(rows, steps):
    """As if the order held one row less in that pass; other modules take the step."""
    data, noting = DATA.select(np.arange(rows)), Noting()
    recipe = Recipe(build=normed, epochs=2, batch_size=8, schedule=cosine)
    got = training.train(recipe, data, seed=3, observer=noting)
    assert training.steps_of(recipe, rows) == 2 * steps == len(noting.rows)
    assert all(len(positions) > 1 for positions in noting.rows)
    module = recipe.module(3).train()
    optimizer = recipe.optimizer(training.trainable(module))
    rate = cosine(optimizer, 2 * steps)
    for positions in training.order(rows, 2, 8, 3):
        if len(positions) == 1:
            continue
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(data.x[positions]), data.y[positions]).backward()
        optimizer.step()
        rate.step()
    assert same(got, module)
    plain = Noting()
    training.train(Recipe(build=mlp, epochs=2, batch_size=8), data, observer=plain)
    assert len(plain.rows) == 2 * -(-rows // 8)


def test_images_are_trained_channels_last_and_come_back_as_they_were():
    case = CASES["conv"]
    data, formats = Data.from_arrays(*case.rows(40)), []

    class Watching(nn.Module):
        def forward(self, x):
            formats.append(x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous())
            return x

    got = training.train(Recipe(build=lambda: nn.Sequential(Watching(), case.build()), epochs=1, batch_size=16), data)
    assert formats == [True] * 3 and got[1][0].weight.is_contiguous()


def test_own_training_code_is_told_the_device_and_must_give_a_module():
    told = []

    def own(data, seed, device, progress):
        told.append(device)
        return mlp()

    training.train(Recipe(build=mlp, train=own), DATA)
    assert told == [torch.device("cpu")]
    with pytest.raises(UsageError, match=r"the recipe's train gave a dict, not a torch\.nn\.Module"):
        training.train(Recipe(build=mlp, train=lambda *_: {}), DATA)
