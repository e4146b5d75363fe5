"""Perturbed copies: alike for every model and every row."""

import pytest
import torch

from neuralyzer.data import batches
from neuralyzer.models.classification import Classification
from neuralyzer.signals.perturbations import copies, noisy
from neuralyzer.signals.signal import Context, spread

SPREAD = torch.tensor([1.0, 2.0, 0.0])
X = torch.arange(12.0).reshape(4, 3)


def context(seed=0, augment=None):
    return Context(Classification(), SPREAD, augment, seed)


def test_noise_comes_in_pairs_of_opposite_sign():
    found = list(noisy(X, 6, context(), 0.5))
    assert len(found) == 6
    torch.testing.assert_close(torch.stack(found).mean(0), X)
    for first, second in zip(found[::2], found[1::2], strict=True):
        torch.testing.assert_close(first - X, X - second)
        assert ((first - X) == (first - X)[0]).all(dim=0)[2] and (first[:, 2] == X[:, 2]).all()
        torch.testing.assert_close(first - X, (first - X)[:1].expand(4, 3))  # the same for every row


def test_noise_has_the_size_asked_for():
    found = torch.stack(list(noisy(X, 4000, context(), 0.5))) - X
    assert found[:, 0].std(0).tolist() == pytest.approx([0.5, 1.0, 0.0], rel=0.05)


def test_copies_follow_from_the_seed():
    first, again, other = (torch.stack(list(noisy(X, 4, context(seed), 0.5))) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_an_augmentation_sees_one_row_at_a_time():
    def shuffle(x, generator):
        assert len(x) == 1
        return x + torch.rand(1, generator=generator)

    whole = list(copies(X, 3, context(5, shuffle), 0.0))
    part = list(copies(X[2:], 3, context(5, shuffle), 0.0))
    assert all(torch.equal(a[2:], b) for a, b in zip(whole, part, strict=True))
    assert not torch.equal(whole[0], whole[1])


def test_images_are_moved_and_vectors_are_not():
    images = torch.arange(36.0).reshape(1, 1, 6, 6)
    moved = list(copies(images, 14, context(), 0.0))
    assert torch.equal(moved[0], images.flip(3)) and torch.equal(moved[1], images)
    assert torch.equal(moved[3], torch.roll(images, 2, 2)) and torch.equal(
        moved[13], torch.roll(images, (-2, -2), (2, 3))
    )
    assert len({tuple(one.flatten().tolist()) for one in moved}) == 14
    assert all(sorted(one.flatten().tolist()) == list(range(36)) for one in moved)
    assert not torch.equal(next(copies(X, 1, context(), 0.15)), X)


# Tokens and inputs by name

WORDS = batches.tokens([[1, 2, 3, 4, 5], [6, 7], [1, 2, 3, 4, 5]])


def of_words(seed=0):
    return Context(Classification(), spread(WORDS), seed=seed)


def test_tokens_are_replaced_by_others_as_they_occur():
    """A share of the places, the same in every row, whatever rows stand beside; never the padding."""
    long = batches.tokens([list(range(1, 9)) * 50] * 2)
    own = Context(Classification(), spread(long), seed=3)
    found = torch.stack([copy["input_ids"] for copy in noisy(long, 40, own, 0.25)])
    assert (found != long["input_ids"]).double().mean().item() == pytest.approx(0.25 * 7 / 8, abs=0.02)
    assert torch.equal(found[:, 0], found[:, 1])
    counts = torch.bincount(found[found != long["input_ids"]], minlength=9)[1:]
    assert (counts / counts.sum()).tolist() == pytest.approx([1 / 8] * 8, abs=0.02)
    for copy in noisy(WORDS, 4, of_words(), 1.0):
        assert torch.equal(copy["attention_mask"], WORDS["attention_mask"])
        assert copy["input_ids"][1, 2:].tolist() == [0, 0, 0] and int(copy["input_ids"].max()) <= 7


def test_a_texts_copies_do_not_depend_on_the_rows_beside_it():
    alone = batches.trimmed(batches.take(WORDS, [1]))
    for together, one in zip(noisy(WORDS, 3, of_words(), 0.5), noisy(alone, 3, of_words(), 0.5), strict=True):
        assert torch.equal(together["input_ids"][1, :2], one["input_ids"][0])


def test_inputs_by_name_get_noise_of_their_own_size():
    x = {"a": torch.zeros(1000, 2), "b": torch.zeros(1000), "kind": torch.arange(1000)}
    own = Context(Classification(), torch.tensor([1.0, 2.0, 3.0, 288.0]))
    found = list(noisy(x, 2000, own, 0.5))
    assert torch.stack([copy["a"][0] for copy in found]).std(0).tolist() == pytest.approx([0.5, 1.0], rel=0.06)
    assert torch.stack([copy["b"][0] for copy in found]).std().item() == pytest.approx(1.5, rel=0.06)
    assert all(torch.equal(copy["kind"], x["kind"]) for copy in found[:3])
