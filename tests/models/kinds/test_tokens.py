"""Modules on tokens of different lengths, and on several inputs: a whole case, and what is refused."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.certificates.check import check
from neuralyzer.errors import ReferencesError, UsageError
from neuralyzer.methods import catalogue
from neuralyzer.models import reading, weights
from neuralyzer.models.compatibility import require_readable
from neuralyzer.unlearning.method import obstacle
from tests.models import tokens

WRITER = nz.ErasureRequest(subjects=["writer-3"])


@pytest.fixture(scope="module")
def oracle():
    return nz.TrainedModel.fit(tokens.recipe(), *tokens.data())


@pytest.fixture(scope="module")
def pooled(oracle, tmp_path_factory):
    place = nz.Workspace(tmp_path_factory.mktemp("tokens"))
    return nz.References.fit(oracle, 32, workspace=place, backend="vectorised", keep_weights=True), place


@pytest.mark.parametrize("build", [tokens.Bag, tokens.Reader])
def test_each_row_reads_as_it_does_alone(build):
    data, _ = tokens.data()
    own = tokens.recipe(build)
    module = own.module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of attention under vmap
        require_readable(module, own.objective, data)
        together = reading.outputs(module, own.objective, data.x)
        for row in range(0, len(data), 40):
            x, _ = data.gather([row])
            np.testing.assert_allclose(module(**x)[0].detach(), together[row], rtol=1e-4, atol=1e-5)
        norms = reading.squared_gradient_norms(module, own.objective, *data.gather(np.arange(6)))
        for row in range(6):
            x, y = data.gather([row])
            slopes = torch.autograd.grad(own.objective.losses(module(**x), y)[0], list(module.parameters()))
            assert float(norms[row]) == pytest.approx(sum(float(own.square().sum()) for own in slopes), rel=1e-3)


class Careless(tokens.Bag):
    """Takes padding for words."""

    def forward(self, input_ids, attention_mask):
        return self.head(self.words(input_ids).mean(1))


def test_a_model_that_reads_padding_is_refused(tmp_path):
    oracle = nz.TrainedModel.fit(tokens.recipe(Careless, epochs=2), *tokens.data())
    with pytest.raises(
        UsageError, match=r"a row's outputs depend on the rows beside it, .* where padding is not masked"
    ):
        nz.References.fit(oracle, 16, workspace=nz.Workspace(tmp_path))


def test_a_model_that_takes_other_names_is_refused():
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2, 3)

        def forward(self, words):
            return self.head(words)

    with pytest.raises(UsageError, match=r"cannot read these rows, input_ids torch.int64 .*unexpected keyword"):
        nz.TrainedModel.fit(tokens.recipe(Other), *tokens.data())


def test_all_five_families_read_it(oracle, pooled):
    audit = nz.audit(oracle, WRITER, pooled[0])
    assert audit.verdict is nz.Verdict.NOT_FORGOTTEN and audit.positive_control.passed
    traces = {own["signal"]: own["trace"] for own in audit.families}
    assert list(traces) == ["margin", "augmented", "relearned", "correct", "fisher"]
    assert all(0.5 < own < 1.5 for own in traces.values())


def test_a_model_retrained_without_the_rows_is_not_found(oracle, pooled):
    rest = oracle.data.select(oracle.data.subjects != "writer-3")
    other = nz.TrainedModel.fit(tokens.recipe(seed=5), rest, oracle.holdout).model
    assert nz.verify(other, oracle, WRITER, pooled[0]).p_value > 0.05


@pytest.mark.parametrize("name", catalogue.names())
def test_every_algorithm_works_or_says_why_not(name, oracle, pooled):
    task, method = nz.Task(oracle, WRITER, pooled[0]), catalogue.make(name)
    if (why := obstacle(method, task)) is not None:
        assert why and name not in ("retrain", "influence", "datamodel-matching", "finetune", "ssd")
        return
    before = weights.digest(oracle.model)
    made = method.unlearn(task)
    assert made is not oracle.model and weights.digest(oracle.model) == before
    assert torch.isfinite(reading.outputs(made, oracle.recipe.objective, oracle.holdout.x)).all()


def test_a_claimants_rows_must_have_the_same_inputs(oracle, pooled):
    kept, _ = pooled
    with pytest.raises(UsageError, match="rows have one tensor; the training rows have attention_mask, input_ids"):
        nz.audit_rows(oracle, nz.Data.from_arrays(np.ones((3, 4)), [0, 1, 2]), kept)
    rows, y = tokens.texts(20, 9)
    try:
        claim = nz.audit_rows(oracle, nz.Data.from_tokens(rows, y), kept)
    except ReferencesError:
        return
    assert claim.rows == 20


def test_a_case_ends_with_a_certificate(oracle, pooled):
    references, place = pooled
    case = nz.forget(oracle, WRITER, references, place, method="datamodel-matching")
    assert case.verdict is not nz.Verdict.NOT_FORGOTTEN and check(case.certificate).ok
    assert case.report.exists()


# Several inputs


class Two(nn.Module):
    """Numbers and the place they were taken at."""

    def __init__(self):
        super().__init__()
        self.places = nn.Embedding(4, 8)
        self.head = nn.Sequential(nn.Linear(8 + 5, 48), nn.ReLU(), nn.Linear(48, 2))

    def forward(self, numbers, place):
        return self.head(torch.cat([numbers, self.places(place)], 1))


def two_inputs(rows, seed):
    generator = np.random.default_rng(seed)
    numbers, place = generator.normal(size=(rows, 5)).astype(np.float32), generator.integers(4, size=rows)
    y = (numbers[:, 0] + (place > 1) + generator.normal(size=rows) > 0.5).astype(int)
    return {"numbers": numbers, "place": place}, y


def test_a_model_of_two_inputs_goes_the_whole_way(tmp_path):
    (x, y), (outside, other) = two_inputs(200, 1), two_inputs(250, 2)
    data = nz.Data.from_arrays(x, y, [f"s{k % 10}" for k in range(200)])
    holdout = nz.Data.from_arrays(outside, other, ids=[f"h{k}" for k in range(250)])
    oracle = nz.TrainedModel.fit(tokens.recipe(Two, epochs=40), data, holdout)
    pool = nz.References.fit(oracle, 32, workspace=nz.Workspace(tmp_path), backend="vectorised")
    request = nz.ErasureRequest(subjects=["s4"])
    traces = {own["signal"]: own["trace"] for own in nz.audit(oracle, request, pool).families}
    assert list(traces) == ["margin", "augmented", "relearned", "correct", "fisher"] and traces["margin"] > 0.5
    case = nz.forget(oracle, request, pool, nz.Workspace(tmp_path))
    assert check(case.certificate).ok
