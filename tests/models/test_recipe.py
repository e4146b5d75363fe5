"""Recipes: what their digest covers, where they are found, and that building disturbs nothing."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from neuralyzer.errors import UsageError, WeightsError
from neuralyzer.models import weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression
from tests.models.cases import mlp, tied

RECIPE = Recipe(build=mlp, epochs=3, batch_size=16)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 4},
        {"batch_size": 17},
        {"objective": Regression()},
        {"build": tied},
        {"build": lambda: mlp().double()},
        {"optimizer": lambda ps: torch.optim.AdamW(ps, 2e-3)},
        {"optimizer": lambda ps: torch.optim.Adam(ps, 1e-3)},
        {"schedule": lambda optimizer, steps: torch.optim.lr_scheduler.ConstantLR(optimizer)},
        {"augment": lambda x, generator: x},
        {"train": lambda *_: mlp()},
        {"command": "train {rows} {seed} {weights}"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_tells_recipes_apart(change):
    assert replace(RECIPE, **change).digest != RECIPE.digest


def test_the_digest_does_not_cover_the_seed():
    assert replace(RECIPE, seed=9).digest == RECIPE.digest == Recipe(build=mlp, epochs=3, batch_size=16).digest


def test_the_digest_covers_pretrained_weights(tmp_path):
    one, other = (weights.save(RECIPE.module(seed), tmp_path / f"{seed}.safetensors") for seed in (1, 2))
    assert len({RECIPE.digest, replace(RECIPE, init=one).digest, replace(RECIPE, init=other).digest}) == 3
    started = replace(RECIPE, init=one).module(5)
    assert torch.equal(started[0].weight, RECIPE.module(1)[0].weight)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first, second = RECIPE.module(4), RECIPE.module(4)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first[0].weight, second[0].weight)
    assert not torch.equal(first[0].weight, RECIPE.module(5)[0].weight)


@pytest.mark.parametrize("given", [{"epochs": 0}, {"batch_size": 0}, {"train": print, "command": "train"}])
def test_arguments_that_do_not_go_together(given):
    with pytest.raises(UsageError):
        Recipe(build=mlp, **given)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "python train.py --seed {seed} --out {weights}",
            r"lacks \{rows\}, the file of row ids: it would train on all",
        ),
        ("python train.py {{rows}} {weights}", r"lacks \{rows\}"),
        ("python train.py {rows} {weights}", r"lacks \{seed\}: references would all be drawn alike"),
        ("python train.py --rows {rows} {seed}", r"lacks \{weights\}, the path that it must write"),
        ("python train.py {rows} {weights} {epochs}", r"names \{epochs\}; it may name \{rows\}, \{seed\}"),
        ("python train.py {rows} {weights} {}", r"names \{\}"),
        ("python train.py {rows} {weights", "cannot be read: expected '}'"),
        ("python train.py '{rows} {weights}", "cannot be read: No closing quotation"),
        ("", r"lacks \{rows\}"),
    ],
)
def test_a_command_that_could_not_be_told_what_to_do(command, message):
    with pytest.raises(UsageError, match=message):
        Recipe(build=mlp, command=command)


def test_a_command_may_have_braces_of_its_own_and_call_its_weights_out():
    Recipe(build=mlp, command="""train --set '{{"rate": 1}}' {rows} {seed} {out}""")


def test_a_build_that_gives_no_module():
    with pytest.raises(UsageError, match="build gave a dict"):
        Recipe(build=dict).module()


def test_pretrained_weights_must_fit(tmp_path):
    path = weights.save(nn.Linear(2, 2), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not fit"):
        Recipe(build=mlp, init=path).module()


SOURCE = """
from torch import nn
from neuralyzer.models.recipe import Recipe
class Box:
    inner = Recipe(build=lambda: nn.Linear(2, 2), epochs=7)
recipe = Recipe(build=lambda: nn.Linear(2, 2), epochs=5)
def make():
    return Recipe(build=lambda: nn.Linear(2, 2), epochs=6)
other = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    import sys

    (tmp_path / "oracle_for_test.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("oracle_for_test", None)


@pytest.mark.parametrize(("name", "epochs"), [("recipe", 5), ("make", 6), ("Box.inner", 7)])
def test_a_recipe_is_found_by_name(folder, name, epochs):
    assert Recipe.find(f"oracle_for_test:{name}", folder).epochs == epochs


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("oracle_for_test", "not of the form module:attribute"),
        ("oracle_for_test:none", "oracle_for_test has no none"),
        ("oracle_for_test:other", "is a int, not a neuralyzer.Recipe"),
        ("no_such_module_here:recipe", "no module 'no_such_module_here'"),
    ],
)
def test_a_recipe_that_is_not_there(folder, name, message):
    with pytest.raises(UsageError, match=message):
        Recipe.find(name, folder)
