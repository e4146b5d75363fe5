"""NPO and task vectors: each step against the paper's equation, computed with transformers' own log-probabilities."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import neuralyzer as nz
from neuralyzer.data.request import ErasureRequest
from neuralyzer.methods import catalogue
from neuralyzer.methods.language.npo import Npo
from neuralyzer.methods.language.task_vector import TaskVector
from neuralyzer.models import weights
from neuralyzer.models.kinds import causal_lm
from neuralyzer.models.trained import TrainedModel
from neuralyzer.unlearning import losses
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.task import Task
from tests.methods import small
from tests.models.language_worlds import made_base, pairs, write

RATE = 0.1


def sgd(parameters):
    return torch.optim.SGD(parameters, RATE)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Four authors of four questions, of whom the first is to go; one batch holds all rows."""
    place = tmp_path_factory.mktemp("authors")
    base = made_base(place / "base", steps=10)
    data = nz.Data.from_texts(write(pairs(4, 4), place / "rows.jsonl"), causal_lm.tokenizer_of(base), subject="author")
    recipe = nz.Recipe.causal_lm(base, {"r": 4, "alpha": 8}, batch_size=64)
    object.__setattr__(recipe, "optimizer", sgd)
    module = recipe.module(3)
    with torch.no_grad():
        for name, value in module.named_parameters():  # a new adapter's B is 0, so that A would have no gradient
            if value.requires_grad and "lora_B" in name:
                value.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    return Task(TrainedModel(module, recipe, data, None), ErasureRequest(subjects=["a00"]))


def log_probabilities(module, data):
    """The sum over its target tokens of each row's log-probabilities, by transformers' logits."""
    x, _ = data.gather(np.arange(len(data)))
    logits = module.model(input_ids=x["input_ids"], attention_mask=x["attention_mask"]).logits[:, :-1]
    tokens = -F.cross_entropy(logits.transpose(1, 2), x["input_ids"][:, 1:], reduction="none")
    return (tokens * x["target_mask"][:, 1:]).sum(1), x["target_mask"][:, 1:].sum(1)


def trained(module):
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def stepped(module, total):
    own = trained(module)
    return {
        name: (value - RATE * slope).detach()
        for (name, value), slope in zip(own.items(), torch.autograd.grad(total, list(own.values())), strict=True)
    }


def test_one_step_of_npo_is_that_of_its_equation(task):
    twin = weights.clone(task.model)
    with torch.no_grad():
        reference, _ = log_probabilities(task.model, task.forget)
    sums, _ = log_probabilities(twin, task.forget)
    kept, count = log_probabilities(twin, task.retain)
    total = -2 / 0.3 * torch.log(1 - torch.sigmoid(0.3 * (sums - reference))).mean() - 0.5 * (kept / count).mean()
    want = stepped(twin, total)
    module = Npo(beta=0.3, retained=0.5, epochs=1).unlearn(task)
    for name, value in trained(module).items():
        torch.testing.assert_close(value.detach(), want[name], rtol=1e-4, atol=1e-6)


def test_npo_goes_on_from_where_it_is_and_is_bounded(task):
    twin = weights.clone(task.model)
    first = stepped(twin, losses.npo(*(log_probabilities(m, task.forget)[0] for m in (twin, task.model)), 0.3))
    with torch.no_grad():
        for name, value in trained(twin).items():
            value.copy_(first[name])
    want = stepped(
        twin, losses.npo(log_probabilities(twin, task.forget)[0], log_probabilities(task.model, task.forget)[0].detach(), 0.3)
    )  # fmt: skip
    module = Npo(beta=0.3, retained=0.0, epochs=2).unlearn(task)
    for name, value in trained(module).items():
        torch.testing.assert_close(value.detach(), want[name], rtol=1e-3, atol=1e-6)


def test_the_loss_of_npo_by_hand_and_its_limit():
    p, reference = torch.tensor([-4.0, -9.0], requires_grad=True), torch.tensor([-5.0, -9.0])
    want = -2 / 0.5 * (math.log(1 / (1 + math.exp(0.5))) + math.log(0.5)) / 2
    assert float(losses.npo(p, reference, 0.5).detach()) == pytest.approx(want, rel=1e-6)
    (slope,) = torch.autograd.grad(losses.npo(p, reference, 1e-6), p)  # the paper: gradient ascent as beta goes to 0
    torch.testing.assert_close(slope, torch.tensor([0.5, 0.5]), rtol=1e-4, atol=0)


def test_the_task_vector_is_subtracted(task):
    twin = weights.clone(task.model)
    sums, count = log_probabilities(twin, task.forget)
    further = stepped(twin, -(sums / count).mean())
    module = TaskVector(scale=2.0, epochs=1).unlearn(task)
    for name, value in trained(module).items():
        before = trained(task.model)[name].detach()
        torch.testing.assert_close(value.detach(), before - 2 * (further[name] - before), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["npo", "task-vector"])
def test_they_forget_and_change_nothing_else(task, name):
    before = weights.digest(task.model)
    first, second = (catalogue.make(name).unlearn(task) for _ in range(2))
    assert weights.digest(task.model) == before
    assert weights.digest(first) == weights.digest(second) != before and not first.training
    with torch.no_grad():
        was, now = (log_probabilities(module, task.forget)[0].mean() for module in (task.model, first))
    assert now < was
    assert obstacle(catalogue.make(name), task) is None and catalogue.make(name).passes(task).steps > 0


@pytest.mark.parametrize("name", ["npo", "task-vector"])
def test_a_classifier_has_no_tokens(name):
    assert "needs rows of tokens, which a torch module does not have" in str(
        obstacle(catalogue.make(name), small.untrained())
    )
