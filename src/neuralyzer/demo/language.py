"""The language demo's course: an assistant that learned authors' conversations forgets one of them."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from neuralyzer.cases.case import Case
from neuralyzer.cases.forget import forget
from neuralyzer.cases.options import CaseOptions
from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.demo import assistant
from neuralyzer.demo.run import Audience, begin_anew, finish
from neuralyzer.models import threads, training, weights
from neuralyzer.models.kinds import bases
from neuralyzer.models.kinds.answers import Answering, asked, in_words
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.workspace.paths import Workspace

REFERENCES = 32  # members of both splits
GUARANTEE = "strong"  # the weakest that will do
BUDGET_SHARE = 1 / 3  # of the seconds of one retraining
RETRAINED_SEED = 500  # so that the retrained model has not the seed of the assistant or of a reference
MOST = 40  # tokens of the answer that is watched


def run(out: Path, audience: Audience, seed: int = 0, method: str | None = None) -> Case:
    """Run the demo.

    Args:
        out: folder for everything that it writes; a demo that was stopped there is resumed.
        audience: listener.
        seed: of texts, weights and order.
        method: name of an algorithm, in place of the plan's choice.

    Returns:
        The case.
    """
    bases.import_transformers()  # said before anything is made
    begin_anew(out)
    place = Workspace(out)
    audience.say("Nothing is downloaded: the base is made here, in seconds. The whole takes some minutes.")
    base = assistant.make_base(out / f"base-{seed}", audience, seed)
    data, holdout = assistant.data(out, base, seed)
    recipe = assistant.recipe(base, seed)
    with threads.using(threads.settled(place.threads, recipe, data).count):
        case = _run(place, data, holdout, recipe, audience, seed, method)
    finish(out, case)
    return case


def _run(
    place: Workspace, data: Data, holdout: Data, recipe: Recipe, audience: Audience, seed: int, method: str | None
) -> Case:
    author = str(data.subjects[0])
    authors = len(set(data.subjects.tolist()))
    audience.say(f"The assistant is fine-tuned by LoRA on {len(data)} conversations about {authors} invented authors.")
    register_dataset(place, "conversations", data)
    register_dataset(place, "holdout", holdout, role="holdout")
    oracle = _trained(place, recipe, data, holdout, audience)
    references = References.fit(oracle, REFERENCES, workspace=place, seed=10_000 + 1000 * seed, progress=audience)
    audience.say(f"{author} demands that the conversations go, and their traces in the assistant.")
    say_answer(audience, oracle, 0, "The assistant answers")
    plain = ErasureRequest(subjects=[author], guarantee=GUARANTEE, decided_by="data protection officer")
    retain = data.select(np.setdiff1d(np.arange(len(data)), plain.positions(data)))
    began = time.perf_counter()
    retrained = training.train(recipe, retain, recipe.seed + RETRAINED_SEED, audience)
    seconds = time.perf_counter() - began
    budget = BUDGET_SHARE * seconds
    audience.say(f"One retraining takes {seconds:.1f} s here. Anything else has {budget:.1f} s.")
    options = CaseOptions(
        method=method, retrain_seconds=seconds, timed_budget=True, show_answers=True, retrained=retrained
    )  # fmt: skip
    request = replace(plain, budget=budget)
    case = forget(oracle, request, references, place, options=options, progress=audience, watch=audience)
    say_answer(audience, replace(oracle, model=case.model), 0, "The assistant now answers")
    return case


def _trained(place: Workspace, recipe: Recipe, data: Data, holdout: Data, audience: Audience) -> TrainedModel:
    """Train the assistant, or read it back where a stopped demo had finished that."""
    path = place.root / f"assistant-{recipe.seed}.safetensors"
    if path.exists():
        return TrainedModel.load(recipe, path, data, holdout)
    oracle = TrainedModel.fit(recipe, data, holdout, audience)
    weights.save(oracle.model, path)
    return oracle


def say_answer(audience: Audience, oracle: TrainedModel, row: int, who: str) -> str:
    """Ask a model the question of one of its rows, and say question and answer.

    Returns:
        The answer.
    """
    model = oracle.model
    assert isinstance(model, Answering)
    tokenizer, prompt = model.tokenizer(), asked(oracle.data.gather([row])[0]).prompt
    answer = in_words(tokenizer, model.answer(prompt, MOST))
    audience.say(f"“{in_words(tokenizer, prompt)}” {who}: “{answer}”")
    return answer
