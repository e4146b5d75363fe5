"""Speed and memory of the training and of unlearning beside plain fine-tuning with transformers and PEFT.

Each figure is a ratio of two measurements of one run. Peaks are of a process of their own, less what the process had
before the measured part.
"""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.language.worlds import World
from neuralyzer.data.request import ErasureRequest
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.influence.removal import removal_update
from neuralyzer.models import training, weights
from neuralyzer.models.language import row_readings

REPEATS = 3
STEPS = 20
VOCABULARIES = (32_000, 128_000)
TOKENS, WIDTH = 1024, 64  # of the hidden states whose losses are compared


def plain_losses(module: Any, world: World) -> Any:
    """Yield after each step of a plain loop: the same rows, transformers' own loss, AdamW."""
    optimizer = torch.optim.AdamW(training.trainable(module), world.rate)
    module.train()
    for positions in list(training.order(len(world.data), 1, 16, 0))[:STEPS]:
        x, _ = world.data.gather(positions)
        labels = torch.where(x["target_mask"].bool(), x["input_ids"], -100)
        loss = module.model(input_ids=x["input_ids"], attention_mask=x["attention_mask"], labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(training.trainable(module), 1.0)
        optimizer.step()
        yield x["input_ids"].numel()


def own_losses(module: nn.Module, world: World) -> Any:
    """Yield after each step of the library's loop, on the same rows."""
    optimizer = torch.optim.AdamW(training.trainable(module), world.rate)
    steps = list(training.order(len(world.data), 1, 16, 0))[:STEPS]
    recipe = replace(world.recipe, schedule=None)
    for positions, _ in zip(
        steps, training.run_steps(recipe, module, optimizer, world.data, iter(steps), 0), strict=True
    ):
        yield world.data.gather(positions)[0]["input_ids"].numel()


def tokens_a_second(world: World) -> dict[str, float]:
    """Return tokens a second of both loops, in turns, and their ratio."""
    rates: dict[str, list[float]] = {"plain": [], "own": []}
    for _ in range(REPEATS):
        for name, loop in (("plain", plain_losses), ("own", own_losses)):
            module, began = world.recipe.module(), time.perf_counter()
            tokens = sum(loop(module, world))
            rates[name].append(tokens / (time.perf_counter() - began))
    medians = {name: float(np.median(own)) for name, own in rates.items()}
    return medians | {"ratio": medians["own"] / medians["plain"]}


def peak(work: Callable[..., Any], *arguments: Any) -> float:
    """Return by how many MB a process of its own grew while it did some work."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_measured, args=(theirs, work, arguments))
    process.start()
    grown = float(ours.recv())
    process.join()
    return grown


def _measured(pipe: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    prepared = work(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far, a part of which was inherited
    before = _status("VmRSS")
    prepared()
    pipe.send((_status("VmHWM") - before) / 1024)


def _status(name: str) -> int:
    """Return a number of this process's status, in KiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def finetuning(world: World) -> Callable[[], Any]:
    """Return a plain fine-tuning, ready to run."""
    module = world.recipe.module()
    return lambda: list(plain_losses(module, world))


def own_finetuning(world: World) -> Callable[[], Any]:
    """Return the library's training, ready to run."""
    module = world.recipe.module()
    return lambda: list(own_losses(module, world))


def influence(world: World, path: Path) -> Callable[[], Any]:
    """Return one step of influence with its factors computed anew, ready to run."""
    module = weights.load_into(world.recipe.module(), path)
    asked = ErasureRequest(subjects=[world.authors[0][0]]).positions(world.data)
    forget, retain = world.data.select(asked), world.data.select(np.setdiff1d(np.arange(len(world.data)), asked))

    def step() -> None:
        factors = ekfac(module, world.recipe.objective, world.data, 2000)
        sample = retain.select(np.arange(32))
        removal_update(module, world.recipe.objective, sample, forget, len(retain), factors, 1e-3 * factors.largest, 4)

    return step


def loss_of(chunked: bool, vocabulary: int) -> Callable[[], Any]:
    """Return the loss and gradient of hidden states by a head, ready to run: in chunks, or all logits at once."""
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, vocabulary, bias=False).requires_grad_(False)
    hidden = torch.randn(8, TOKENS // 8, WIDTH, requires_grad=True)
    targets = torch.randint(vocabulary, (8, TOKENS // 8))

    def in_chunks() -> None:
        row_readings(hidden, head, targets, torch.ones_like(targets, dtype=torch.bool))[:, 0].mean().backward()

    def plain() -> None:
        logits = head(hidden).float()
        F.cross_entropy(logits.transpose(1, 2), targets).backward()

    return in_chunks if chunked else plain


def measured(world: World, original: Path) -> dict[str, Any]:
    """Return all figures."""
    fresh = replace(world)  # without what was cached, which cannot be sent to a process
    plain = peak(finetuning, fresh)
    peaks = {
        "plain fine-tuning": plain,
        "own": peak(own_finetuning, fresh),
        "influence": peak(influence, fresh, original),
    }
    losses = {
        str(size): {name: peak(loss_of, chunked, size) for name, chunked in (("chunked", True), ("plain", False))}
        for size in VOCABULARIES
    }
    return {
        "tokens a second": tokens_a_second(world), "peak MB": peaks,
        "peak over plain fine-tuning": {name: value / plain for name, value in peaks.items()},
        "peak MB of the loss, by vocabulary": losses,
    }  # fmt: skip
