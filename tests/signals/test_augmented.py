"""The augmented signal: a mean of margins over copies written out."""

import torch

from neuralyzer.signals.augmented import Augmented
from neuralyzer.signals.signal import Batch, Context
from tests.models.cases import CASES


def mean_margin(case, module, copies, y):
    return torch.stack([case.objective.margin(module(copy), y) for copy in copies]).mean(0).detach()


def test_vectors_get_noise_of_fifteen_hundredths_of_a_spread():
    case = CASES["mlp"]
    module, rows = case.module(), Batch(*case.rows(9))
    spread = torch.tensor([0.5, 1, 1, 1, 2, 3])
    got, _ = Augmented().measure(module, rows, rows, Context(case.objective, spread, seed=4))
    generator = torch.Generator().manual_seed(4)
    noises = [0.15 * spread * torch.randn(6, generator=generator) for _ in range(4)]
    copies = [rows.x + sign * noise for noise in noises for sign in (1, -1)]
    torch.testing.assert_close(got, mean_margin(case, module, copies, rows.y))


def test_images_are_shifted_and_flipped():
    case = CASES["conv"]
    module, rows = case.module(), Batch(*case.rows(9))
    got, _ = Augmented().measure(module, rows, rows, Context(case.objective, torch.ones(2, 6, 6)))
    moved = [torch.roll(rows.x, by, (2, 3)) for by in ((0, 0), (2, 0), (-2, 0), (0, 2))]
    copies = [one for own in moved for one in (own, own.flip(3))]
    torch.testing.assert_close(got, mean_margin(case, module, copies, rows.y))


def test_the_recipes_augmentation_comes_first():
    case = CASES["conv"]
    module, rows = case.module(), Batch(*case.rows(9))

    def scaled(x, generator):
        return x * (1 + torch.rand(1, generator=generator))

    got, _ = Augmented().measure(module, rows, rows, Context(case.objective, torch.ones(2, 6, 6), scaled, seed=5))
    factors = [1 + torch.rand(1, generator=torch.Generator().manual_seed(5 + copy)) for copy in range(8)]
    torch.testing.assert_close(got, mean_margin(case, module, [rows.x * factor for factor in factors], rows.y))
