"""The audit of a claim on a language model without references: was it fine-tuned on the claimant's texts?

It says less than a claim with references: people of the holdout stand in for models that never saw the texts. So it is
never ``forgotten``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import nn

from neuralyzer.data import near_copies
from neuralyzer.data.rows import Data
from neuralyzer.errors import ForgetSetError, HoldoutError, UsageError
from neuralyzer.models import reading
from neuralyzer.models.kinds.causal_lm import CausalLanguageModel
from neuralyzer.models.trained import TrainedModel
from neuralyzer.trace import user_inference
from neuralyzer.trace.user_inference import Inference
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.claimed_rows import left_out_notes, require_same_inputs, unregistered
from neuralyzer.verification.words import colour
from neuralyzer.workspace import digests
from neuralyzer.workspace.policy import Policy

FEWEST_TEXTS = 2  # of a claimant, since the blind test trains on some and reads the others
LEAST_POWER = 0.5  # a test that misses more than half of those who are known to be there says nothing by its silence


@dataclass(frozen=True)
class TextsClaim:
    """The result of a claim without references: whether a language model was fine-tuned on a claimant's texts.

    Attributes:
        verdict: ``not forgotten``: it was; ``untraceable``: the test would miss most of those who are known to be in the
            training rows; ``inconclusive``: otherwise. Never ``forgotten``.
        p_value: that one of the people compared has as large a mean log-ratio; one-sided.
        blind_p: of the test that words alone set the claimant's texts apart; at most ``alpha`` stops the claim.
        excess: mean log-ratio of model to base above that of the people compared, in nats a token.
        low: lower end of its interval at ``1 - alpha``.
        high: upper end.
        expected: the same excess of people who are known to be in the training rows, on average.
        power: share of these whom the test finds.
        rows: number of texts that were tested.
        people: number of people compared, whose texts no training rows hold.
        known: number of people by whom the power was measured.
        each: number of texts of each of them.
        registered: number of the claimant's texts that are in the training data; left out.
        subjects: to whom these belong.
        holdout: number of texts that are in the holdout; left out.
        repeated: number of texts that repeat another of the claimant's; left out.
        near: number of texts that nearly copy a training row; left out, since the model may know them from there.
        alpha: error rate of either test.
        sentence: the result in plain words.
        notes: further remarks, a sentence each.
    """

    verdict: Verdict
    p_value: float
    blind_p: float
    excess: float
    low: float
    high: float
    expected: float
    power: float
    rows: int
    people: int
    known: int
    each: int
    registered: int
    subjects: tuple[str, ...]
    holdout: int
    repeated: int
    near: int
    alpha: float
    sentence: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the claim's audit as plain values."""
        lists = {"subjects": list(self.subjects), "notes": list(self.notes)}
        return asdict(self) | lists | {"verdict": str(self.verdict)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TextsClaim":
        """Return the claim's audit that ``to_dict`` wrote down."""
        tuples = {name: tuple(values[name]) for name in ("subjects", "notes")}
        return cls(**{**values, **tuples, "verdict": Verdict(values["verdict"])})

    def __rich__(self) -> RenderableType:
        lines = [Text(self.sentence, style=f"bold {colour(self.verdict)}")]
        return Group(*lines, *(Text(note, style="dim") for note in self.notes))


def possible(oracle: TrainedModel) -> bool:
    """Return whether a model has a base to compare with: a fine-tuned causal language model."""
    return isinstance(oracle.recipe.kind, CausalLanguageModel)


def audit_texts(
    oracle: TrainedModel, texts: Data, unseen: Data | None = None, policy: Policy | None = None, seed: int = 0
) -> TextsClaim:
    """Test whether a language model was fine-tuned on texts that no register holds, without references.

    Args:
        oracle: the model, with the training rows that are known. Its base is read for comparison.
        texts: the claimant's, read by the same tokenizer; their ids and subjects are not used.
        unseen: texts of the same kind by other people that the model was never trained on, with their subjects; the
            holdout by default. Where nobody is named, texts are taken to be independent of each other.
        policy: error rate.
        seed: of the draws of people and texts.

    Returns:
        The result.

    Raises:
        UsageError: if the model is no causal language model, or the texts are no such rows.
        ForgetSetError: if too few of the texts are unknown.
        HoldoutError: if too few people can be compared.
    """
    alpha = (policy or Policy()).alpha
    if not possible(oracle):
        raise UsageError("without references only a causal language model can be asked; make references")
    unseen = oracle.require_holdout() if unseen is None else unseen
    for rows in (texts, unseen):
        require_same_inputs(oracle.data.gather([0])[0], rows.gather([0])[0])
    tested, left_out = unregistered(oracle, texts)
    seen_there = _copied(tested, oracle.data)
    tested, left_out = tested.select(~seen_there), left_out | {"near": int(seen_there.sum())}
    if len(tested) < FEWEST_TEXTS:
        raise ForgetSetError(
            f"{len(tested)} of the claimant's {len(texts)} texts is neither known nor a near copy of a training row; "
            f"a claim without references needs {FEWEST_TEXTS} or more"
        )
    compared = unseen.select(~(_copied(unseen, oracle.data) | _copied(unseen, tested)))
    each = user_inference.texts_each(compared, len(tested), alpha)
    if each < FEWEST_TEXTS:
        raise HoldoutError(
            f"a claim without references needs {user_inference.fewest_people(alpha)} people of {FEWEST_TEXTS} texts or "
            "more each whom the model was never trained on; give more of them, with their subjects"
        )
    others = user_inference.people(compared, each, seed)
    members = user_inference.people(oracle.data, each, seed)
    if not members:
        raise HoldoutError(f"nobody in the training rows has {each} texts, so that the power cannot be measured")
    blind = _blind_p(tested, compared, others, each, seed)
    base = oracle.recipe.module()
    known, unknown, own = (
        _means(oracle, base, data, groups)
        for data, groups in ((oracle.data, members), (compared, others), (tested, [np.arange(len(tested))]))
    )
    found = user_inference.infer(float(own[0]), unknown, known, alpha)
    verdict = _verdict(found, blind, alpha)
    counts = {name: left_out[name] for name in ("registered", "subjects", "holdout", "repeated")}
    return TextsClaim(
        verdict, blind_p=blind, **asdict(found), rows=len(tested), people=len(others), known=len(members), each=each,
        **left_out, alpha=alpha, sentence=_sentence(verdict, found, blind, alpha, len(others)),
        notes=(*_notes(found, compared, left_out["near"], len(members), each), *left_out_notes(**counts)),
    )  # fmt: skip


def _copied(rows: Data, among: Data) -> np.ndarray:
    """Return which rows copy or nearly copy one of others, ``(N,)``."""
    copied = digests.known(rows.value_digests, among.value_digests)
    if near_copies.searchable(rows):
        copied[[pair.one for pair in near_copies.pairs(rows, among)]] = True
    return copied


def _blind_p(tested: Data, compared: Data, others: list[np.ndarray], each: int, seed: int) -> float:
    """Test whether words alone set the claimant's texts apart, with as many of them as of everyone else's."""
    own = np.sort(np.random.default_rng(seed).permutation(len(tested))[:each])
    x = [rows.select(places) for rows, places in ((tested, own), (compared, np.concatenate(others)))]
    groups = np.split(np.arange(len(x[0]) + len(x[1])), np.arange(each, len(x[0]) + len(x[1]), each))
    return user_inference.blind_p(user_inference.token_counts(x), groups[0], groups[1:], seed)


def _means(oracle: TrainedModel, base: nn.Module, data: Data, groups: list[np.ndarray]) -> np.ndarray:
    """Return each person's mean over texts of the log-ratio of model to base, in nats a token."""
    chosen, objective = data.select(np.concatenate(groups)), oracle.recipe.objective
    ratios = [
        objective.losses(reading.outputs(base, objective, x), y)
        - objective.losses(reading.outputs(oracle.model, objective, x), y)
        for x, y in chosen.chunks()
    ]
    by_text = torch.cat(ratios).double().numpy()
    return np.array([own.mean() for own in np.split(by_text, np.cumsum([len(own) for own in groups])[:-1])])


def _verdict(found: Inference, blind: float, alpha: float) -> Verdict:
    if blind <= alpha:
        return Verdict.INCONCLUSIVE
    if found.p_value <= alpha:
        return Verdict.NOT_FORGOTTEN
    return Verdict.UNTRACEABLE if found.power < LEAST_POWER else Verdict.INCONCLUSIVE


def _sentence(verdict: Verdict, found: Inference, blind: float, alpha: float, people: int) -> str:
    read = (
        f"an excess of {found.excess:.3f} nats a token ({found.low:.3f} to {found.high:.3f}) over {people} people whom "
        f"it never saw, p = {found.p_value:.3f}"
    )
    if blind <= alpha:
        return (
            "Inconclusive: these texts differ from those they are compared with by their words alone, whatever the model "
            f"(p = {blind:.3f}); compare them with texts of their kind."
        )
    return {
        Verdict.NOT_FORGOTTEN: f"The model was fine-tuned on these texts: {read}.",
        Verdict.UNTRACEABLE: f"Nothing measurable: {read}, and most of those it was trained on look so too.",
        Verdict.INCONCLUSIVE: f"No sign that the model was fine-tuned on these texts: {read}; only references can tell "
        "that it was not.",
    }[verdict]


def _notes(found: Inference, compared: Data, near: int, known: int, each: int) -> tuple[str, ...]:
    found_of_known = (
        f"The test finds {100 * found.power:.0f} % of {known} people who are known to be in the training rows, by "
        f"{each} texts each; their excess is {found.expected:.3f} nats a token on average."
    )
    notes = [
        found_of_known,
        "A base that saw the texts before fine-tuning hides them from this test.",
    ]
    if user_inference.unnamed(compared):
        notes.append("The texts compared name nobody, so that they are taken to be independent of each other.")
    if near:
        notes.append(f"{near} of these texts nearly copy a training row; they were left out.")
    return tuple(notes)
