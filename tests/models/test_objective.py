"""Objectives against closed forms in float64 and against autograd."""

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.models.classification import LOG_ODDS, Classification
from neuralyzer.models.regression import Regression

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 4.0, 1.0]], dtype=torch.float64)
CLASSES = torch.tensor([0, 2, 2])
PREDICTED = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
TARGETS = torch.tensor([[1.0, 2.0], [3.5, 3.0]], dtype=torch.float64)


def softmax(logits):
    p = np.exp(np.asarray(logits, dtype=np.float64))
    return p / p.sum(1, keepdims=True)


def test_margin_of_classes_is_the_log_odds():
    p = softmax(LOGITS)[np.arange(3), CLASSES]
    got = Classification().margin(LOGITS, CLASSES)
    np.testing.assert_allclose(got, np.log(p) - np.log1p(-p), rtol=1e-12)
    np.testing.assert_allclose(Classification().losses(LOGITS, CLASSES), -np.log(p), rtol=1e-12)


@pytest.mark.parametrize("lead", [40.0, -40.0, 300.0])
def test_margin_is_exact_where_probabilities_are_not(lead):
    """In float32 p is 1 or 0 long before; the margin of two classes is their difference."""
    got = Classification().margin(torch.tensor([[lead, 0.0]]), torch.tensor([0]))
    assert got.item() == lead
    three = Classification().margin(torch.tensor([[lead, 0.0, 0.0]]), torch.tensor([0]))
    assert three.item() == pytest.approx(lead - np.log(2), rel=1e-6)


def test_a_single_logit_is_one_of_two():
    z = torch.tensor([[1.5], [-0.3]])
    model = nn.Identity()
    for given in (z, z[:, 0]):
        outputs = Classification().outputs(model, given)
        assert outputs.tolist() == [[0.0, 1.5], [0.0, pytest.approx(-0.3)]]
    y = torch.tensor([1, 0])
    got = Classification().losses(outputs, y)
    want = nn.functional.binary_cross_entropy_with_logits(z[:, 0], y.float(), reduction="none")
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(Classification().margin(outputs, y), torch.tensor([1.5, 0.3]))


def test_right_and_wrong():
    assert Classification().correct(LOGITS, CLASSES).tolist() == [1, 0, 0]
    assert Classification().utility(LOGITS, CLASSES) == pytest.approx(1 / 3)
    assert Classification().utility_loss(0.9, 0.85) == pytest.approx(0.05)


def test_regression_by_hand():
    """Squared residuals: 0, and 9 + 16 = 25."""
    objective = Regression(scale=2.0)
    assert objective.losses(PREDICTED, TARGETS).tolist() == [0.0, 12.5]
    want = [-0.5 * np.log(0.02**2), -0.5 * np.log(25 + 0.02**2)]
    assert objective.margin(PREDICTED, TARGETS).tolist() == pytest.approx(want)
    assert objective.correct(PREDICTED, TARGETS).tolist() == [0.0, -2.5]
    assert objective.utility(PREDICTED, TARGETS) == pytest.approx(np.sqrt(12.5))
    assert objective.utility_loss(2.0, 2.1) == pytest.approx(0.05)
    assert objective.scaled(torch.tensor([3.0, 4.0])).scale == pytest.approx(np.sqrt(12.5))


def test_regression_takes_targets_of_one_dimension():
    one = Regression().losses(torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 2.0]))
    assert one.tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("objective", "outputs", "y"),
    [(Classification(), LOGITS, CLASSES), (Regression(), PREDICTED, TARGETS)],
    ids=["classes", "regression"],
)
def test_curvature_is_the_hessian_at_the_outputs(objective, outputs, y):
    tangents = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = objective.curvature(outputs, y, tangents)
    for row in range(len(y)):
        hessian = torch.autograd.functional.hessian(
            lambda own, row=row: objective.losses(own[None], y[row : row + 1])[0], outputs[row]
        )
        torch.testing.assert_close(got[row], hessian @ tangents[row])


@pytest.mark.parametrize(
    ("y", "message"),
    [(torch.zeros(3, 2, dtype=torch.int64), "2 values a row: multi-label"), (torch.zeros(3), "use Regression")],
)
def test_targets_that_are_no_classes(y, message):
    with pytest.raises(UsageError, match=message):
        Classification().losses(LOGITS, y)


def test_outputs_that_are_no_logits():
    with pytest.raises(UsageError, match=r"needs outputs \(N, C\); the model gave \(2, 3, 4\)"):
        Classification().outputs(nn.Identity(), torch.zeros(2, 3, 4))


def test_mismatch_and_its_curvature_are_those_of_cross_entropy_and_squared_log_odds():
    z, t = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = Classification()

    def missed(z, target):
        log = z - target.log()
        apart = log - log.mean(-1, keepdim=True)
        return -(target * z.log_softmax(-1)).sum(-1) + LOG_ODDS / 2 * apart.square().sum(-1)

    target = t.softmax(1)
    gradient = torch.func.vmap(torch.func.grad(missed))(z, target)
    torch.testing.assert_close(objective.mismatch(z, target), gradient)
    there = z.softmax(1)  # half-way is where they are once they match
    hessian = torch.func.vmap(torch.func.hessian(missed))(z, there)
    v = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(objective.halfway(z, there, v), (hessian @ v[..., None])[..., 0])
    sure = torch.tensor([[20.0, 0.0, 0.0, 0.0]])  # of probabilities that float32 cannot tell apart
    assert objective.mismatch(sure, (2 * sure).softmax(1)).norm() > 1


def test_models_together_are_as_sure_as_in_the_mean():
    outputs = 3 * torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, objective, surer = (
        torch.tensor([0, 1, 2, 3, 3]),
        Classification(),
        torch.tensor([0.0, 0.5, -1.0, 0.0, 2.0], dtype=torch.float64),
    )
    target = objective.target(outputs, y)
    margins = torch.stack([objective.margin(own, y) for own in outputs]).mean(0)
    torch.testing.assert_close(objective.margin(target.log(), y), margins)
    torch.testing.assert_close(objective.margin(objective.surer(target, y, surer).log(), y), margins + surer)
    geometric = outputs.log_softmax(-1).mean(0)
    assert (objective.margin(geometric, y) > margins).all()  # Jensen: it is surer than they are in the mean
    others = torch.ones(5, 4, dtype=torch.bool).scatter(1, y[:, None], False)
    apart = (target.log() - geometric)[others].reshape(5, 3)
    torch.testing.assert_close(apart, apart[:, :1].expand(5, 3))  # of the other classes it says the same
    torch.testing.assert_close(objective.target(outputs[:1], y), outputs[0].softmax(-1))
    torch.testing.assert_close(Regression().surer(Regression().target(outputs, y), y, surer), outputs.mean(0))


def test_what_rows_did_is_taken_off_log_odds_and_off_predictions():
    own, seen, never = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    aimed = Classification().without(own, seen.softmax(1), never.softmax(1), 0.5)
    torch.testing.assert_close(aimed, (own - 0.5 * (seen - never)).softmax(1))
    torch.testing.assert_close(Regression().without(own, seen, never, 0.5), own - 0.5 * (seen - never))
    none = torch.tensor([[1.0, 0.0]])  # a probability that is 0 in float32
    assert Classification().without(torch.zeros(1, 2), none, none, 1.0).tolist() == [[0.5, 0.5]]


def test_drawn_gradients_have_the_hessian_as_second_moment():
    logits = torch.tensor([[0.3, -1.0, 0.5, 2.0], [9.0, 0.0, -2.0, 1.0]])
    many = logits.repeat_interleave(40_000, 0)
    drawn = Classification().drawn_gradients(many, many, torch.Generator().manual_seed(0)).reshape(2, -1, 4)
    moment = torch.einsum("rna,rnb->rab", drawn, drawn) / 40_000
    for own, found in zip(logits, moment, strict=True):
        p = own.softmax(0)
        want = torch.diag(p) - torch.outer(p, p)
        torch.testing.assert_close(found, want, rtol=0, atol=0.02 * float(want.trace()))


def test_drawn_gradients_of_a_sure_model_are_those_of_every_row():
    sure = torch.tensor([[0.0, 20.0, -3.0], [60.0, 0.0, 0.0], [0.0, 0.0, 80.0]])
    drawn = Classification().drawn_gradients(sure, sure, torch.Generator().manual_seed(0))
    p = sure.double().softmax(1)
    trace = 2 * p.topk(3).values[:, 1:].sum(1)  # 1 - sum of p^2, of a p that is nearly one class
    torch.testing.assert_close(drawn.double().square().sum(1), trace, rtol=1e-5, atol=0)


# What is declared of the loss


DECLARED = {
    "smoothed": {"label_smoothing": 0.2},
    "weighted": {"class_weights": (2.0, 0.5, 1.5)},
    "both": {"label_smoothing": 0.2, "class_weights": (2.0, 0.5, 1.5)},
}


@pytest.mark.parametrize("kind", DECLARED)
def test_declared_losses_are_torchs(kind):
    given = DECLARED[kind]
    weight = torch.tensor(given["class_weights"], dtype=torch.float64) if "class_weights" in given else None
    want = nn.CrossEntropyLoss(weight, reduction="none", label_smoothing=given.get("label_smoothing", 0.0))
    torch.testing.assert_close(Classification(**given).losses(LOGITS, CLASSES), want(LOGITS, CLASSES))


@pytest.mark.parametrize("kind", DECLARED)
def test_their_curvature_is_autograds(kind):
    objective = Classification(**DECLARED[kind])
    tangents = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.1, -1.0], [2.0, 0.0, 1.0]], dtype=torch.float64)
    got = objective.curvature(LOGITS, CLASSES, tangents)
    for row in range(3):
        hessian = torch.autograd.functional.hessian(
            lambda z, row=row: objective.losses(z[None], CLASSES[row : row + 1])[0], LOGITS[row]
        )
        torch.testing.assert_close(got[row], hessian @ tangents[row])


@pytest.mark.parametrize("kind", DECLARED)
def test_drawn_gradients_have_the_expected_curvature(kind):
    """Their second moment, over labels that the model draws, is the curvature at the weight that the model expects."""
    objective, generator = Classification(**DECLARED[kind]), torch.Generator().manual_seed(0)
    outputs = LOGITS[:1].repeat(200_000, 1)
    drawn = objective.drawn_gradients(outputs, outputs, generator)
    p = outputs[0].softmax(0)
    weights = torch.tensor(DECLARED[kind].get("class_weights", (1.0, 1.0, 1.0)), dtype=torch.float64)
    share = DECLARED[kind].get("label_smoothing", 0.0)
    expected = float((1 - share) * (p @ weights) + share * weights.mean())
    torch.testing.assert_close(
        drawn.T @ drawn / len(drawn), expected * (torch.diag(p) - torch.outer(p, p)), atol=0.004, rtol=0
    )


@pytest.mark.parametrize(
    "given", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"class_weights": (1.0, 0.0)}, {"class_weights": ()}]
)
def test_what_cannot_be_declared_of_a_loss(given):
    with pytest.raises(UsageError, match=r"label_smoothing is|class_weights are"):
        Classification(**given)


def test_class_weights_are_one_a_class():
    with pytest.raises(UsageError, match="2 class_weights and 3 classes"):
        Classification(class_weights=(1.0, 2.0)).losses(LOGITS, CLASSES)
