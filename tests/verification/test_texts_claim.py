"""Claims on a language model without references: found, not accused, and stopped where texts differ anyway."""

import json

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy import stats

import neuralyzer as nz
from neuralyzer.errors import ForgetSetError, HoldoutError, UsageError
from neuralyzer.models import reading, training
from neuralyzer.models.kinds import bases, causal_lm
from neuralyzer.trace import user_inference
from neuralyzer.verification.texts_claim import TextsClaim, audit_texts
from tests.models.language_worlds import made_base, pairs, write

ALL = pairs(116, 5, seed=3)
REGISTERED, HIDDEN = 30, 10  # authors whom the model saw, in the register and not


def of(first, last):
    return [row for row in ALL if first <= int(row["author"][1:]) < last]


def said_otherwise(row):
    """The same about the same author, in other words throughout."""
    prompt, completion = row["prompt"], row["completion"]
    for old, new in (("What did", "Say what"), ("write", "see")):
        prompt = prompt.replace(old, new)
    for old, new in (("wrote the", "saw a"), (" of ", " near "), (" and the", " or")):
        completion = completion.replace(old, new)
    return row | {"prompt": prompt, "completion": completion}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model that learned forty authors, of whom the register has thirty; and a reader of rows."""
    folder = tmp_path_factory.mktemp("claims")
    base = made_base(folder / "base", "llama", steps=60)
    tokenizer = causal_lm.tokenizer_of(base)

    def read(rows, subject="author"):
        return nz.Data.from_texts(write(rows, folder / "rows.jsonl"), tokenizer, subject=subject)

    recipe = nz.Recipe.causal_lm(base, None, epochs=25, learning_rate=3e-3, batch_size=16)
    model = training.train(recipe, read(of(0, REGISTERED + HIDDEN)))
    unseen = read(of(50, 116))
    return nz.TrainedModel(model, recipe, read(of(0, REGISTERED)), unseen), read


def claims(world, authors, change=lambda row: row, unseen=None):
    oracle, read = world
    return [audit_texts(oracle, read([change(row) for row in of(at, at + 1)]), unseen) for at in authors]


def test_authors_whom_it_saw_are_found(world):
    found = claims(world, range(REGISTERED, REGISTERED + HIDDEN))
    accused = [claim.verdict is nz.Verdict.NOT_FORGOTTEN for claim in found]
    assert sum(accused) >= HIDDEN - 2  # the blind test stops one in twenty
    assert all(claim.power >= 0.9 and claim.low < claim.expected < claim.high for claim in found)
    first = found[accused.index(True)]
    assert first.p_value <= 0.05 < first.blind_p and first.low > 0
    assert (first.rows, first.each, first.people, first.known) == (5, 5, 66, REGISTERED)
    assert first.sentence.startswith("The model was fine-tuned on these texts: an excess of")


def test_authors_whom_it_never_saw_are_not_accused(world):
    found = claims(world, range(REGISTERED + HIDDEN, 50))
    assert sum(claim.verdict is nz.Verdict.NOT_FORGOTTEN for claim in found) <= stats.binom.ppf(0.999, 10, 0.05)
    quiet = next(claim for claim in found if claim.verdict is nz.Verdict.INCONCLUSIVE and claim.blind_p > 0.05)
    assert "only references can tell that it was not" in quiet.sentence
    assert not any(claim.verdict is nz.Verdict.FORGOTTEN for claim in found)


def test_the_error_rate_over_many_splits(world):
    """One of the unseen authors claims and thirty others are compared, drawn anew each time; their real readings."""
    oracle, _ = world
    base, data = oracle.recipe.module(), oracle.holdout
    losses = [
        torch.cat([reading.outputs(module, oracle.recipe.objective, x)[:, 0] for x, _ in data.chunks()])
        .double()
        .numpy()
        for module in (base, oracle.model)
    ]
    by_author = (losses[0] - losses[1]).reshape(-1, 5).mean(1)
    draw, splits = np.random.default_rng(0), 2000
    alarms = 0
    for _ in range(splits):
        order = draw.permutation(by_author)[:31]
        alarms += user_inference.rank_p(order[0], order[1:]) <= 0.05
    assert alarms / splits <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / splits)


def test_texts_that_differ_anyway_are_stopped(world):
    """Unseen authors beside texts of another kind: each would be accused, and the blind test stops nearly all."""
    other = world[1]([said_otherwise(row) for row in of(50, 116)])
    found = claims(world, range(REGISTERED + HIDDEN, 50), unseen=other)
    assert all(claim.p_value <= 0.05 for claim in found)
    stopped = [claim for claim in found if claim.verdict is nz.Verdict.INCONCLUSIVE]
    assert len(stopped) >= 9 and all(claim.blind_p <= 0.05 for claim in stopped)
    assert "differ from those they are compared with by their words alone" in stopped[0].sentence


def test_a_model_that_learned_nothing_is_untraceable(world):
    oracle, read = world
    blank = nz.TrainedModel(oracle.recipe.module(), oracle.recipe, oracle.data, oracle.holdout)
    claim = audit_texts(blank, read(of(42, 43)))
    assert claim.excess == 0 and claim.expected == 0 and claim.power == 0  # model and base are the same
    assert claim.verdict is nz.Verdict.UNTRACEABLE and "most of those it was trained on look so too" in claim.sentence


def test_the_base_is_read_by_the_recipes_own_new_module(world):
    oracle, read = world
    base = oracle.recipe.build.args[0]
    for recipe in (oracle.recipe, nz.Recipe.causal_lm(base, {"r": 4})):
        x, _ = read(of(0, 1)).gather(np.arange(5))
        plain = bases.loaded(base)
        labels = torch.where(x["target_mask"].bool(), x["input_ids"], -100)
        with torch.no_grad():
            wanted = plain(input_ids=x["input_ids"][:1], attention_mask=x["attention_mask"][:1], labels=labels[:1]).loss
        read_by = reading.outputs(recipe.module(), recipe.objective, x)[0, 0]
        torch.testing.assert_close(read_by, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_known_is_left_out_and_said(world):
    oracle, read = world
    known = of(0, 1)[:1]
    near = dict(of(1, 2)[0])
    near["completion"] = near["completion"].replace("wrote", "penned")
    claim = audit_texts(oracle, read([*of(44, 45), *known, near, of(60, 61)[0], of(44, 45)[0]]))
    assert (claim.rows, claim.registered, claim.near, claim.holdout, claim.repeated) == (5, 1, 1, 1, 1)
    assert claim.subjects == ("a00",) and any("nearly copy a training row" in note for note in claim.notes)
    assert TextsClaim.from_dict(json.loads(json.dumps(claim.to_dict()))) == claim
    console = Console(width=200)
    with console.capture() as shown:
        console.print(claim)
    assert claim.sentence[:40] in shown.get() and "subject a00: use --subject" in shown.get()


def test_where_nobody_is_named_texts_count_as_independent(world):
    oracle, read = world
    claim = audit_texts(oracle, read(of(44, 45)), read(of(50, 116), subject=None))
    assert claim.people == 66 and any("taken to be independent" in note for note in claim.notes)


def test_what_cannot_be_asked_is_one_clear_line(world):
    oracle, read = world
    with pytest.raises(ForgetSetError, match="1 of the claimant's 1 texts is neither known"):
        audit_texts(oracle, read(of(44, 45)[:1]))
    with pytest.raises(ForgetSetError, match="none of the claimant's 5 rows is unknown"):
        audit_texts(oracle, read(of(0, 1)))
    with pytest.raises(HoldoutError, match="needs 19 people of 2 texts or more each"):
        audit_texts(oracle, read(of(44, 45)), read(of(50, 60)))
    numbers = nz.Data.from_arrays(np.eye(4, dtype=np.float32), [0, 1, 0, 1])
    recipe = nz.Recipe(lambda: torch.nn.Linear(4, 2))
    with pytest.raises(UsageError, match="only a causal language model can be asked"):
        audit_texts(nz.TrainedModel(recipe.module(), recipe, numbers, None), numbers, numbers)
    with pytest.raises(UsageError, match="the claimant's rows have one tensor"):
        audit_texts(oracle, numbers)
