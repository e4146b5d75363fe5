"""The catalogue finds every signal of the folder, and those of third parties."""

from types import SimpleNamespace

import pytest

from neuralyzer.errors import NeuralyzerWarning
from neuralyzer.models.kinds.causal_lm import CausalLanguageModel
from neuralyzer.models.kinds.module import Module
from neuralyzer.signals import catalogue
from neuralyzer.signals.signal import Family, needs_weights
from neuralyzer.workspace import plugins


@pytest.fixture
def third_party(monkeypatch):
    """Registers a class as an entry point of the group ``neuralyzer.signals``."""

    def register(kind):
        entry = SimpleNamespace(name="theirs", load=lambda: kind)
        monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == "neuralyzer.signals" else [])
        catalogue.signals.cache_clear()

    yield register
    monkeypatch.undo()
    catalogue.signals.cache_clear()


class Entropy:
    name, family, per_unit = "entropy", Family.INFORMATION, False

    def prepare(self, samples, context):
        return {}

    def measure(self, model, rows, holdout, context):
        raise NotImplementedError


OF_TEXTS = ["paraphrased", "min-k", "rounded", "relearned-elsewhere", "extraction", "sampled"]
ALL = ["margin", "augmented", *OF_TEXTS[:4], "relearned", "correct", *OF_TEXTS[4:], "fisher"]


def test_the_five_families():
    found = catalogue.signals()
    assert list(found) == ALL
    assert sorted({signal.family for signal in found.values()}) == sorted(Family)
    assert [name for name, signal in found.items() if signal.per_unit] == ["relearned"]


def test_which_references_are_read_by():
    module, texts = Module(), CausalLanguageModel("base")
    assert list(catalogue.signals_of(module)) == ["margin", "augmented", "relearned", "correct", "fisher"]
    assert [name for name in catalogue.signals_of(texts) if name in OF_TEXTS] == ["relearned-elsewhere"]
    assert list(catalogue.signals_of(texts, OF_TEXTS)) == [name for name in ALL if name != "fisher"]


def test_a_third_partys_signal(third_party):
    third_party(Entropy)
    found = catalogue.signals()
    assert list(found)[-1] == "entropy" and isinstance(found["entropy"], Entropy) and len(found) == len(ALL) + 1


def test_a_third_partys_class_that_is_no_signal_is_left_out_and_named(third_party):
    third_party(dict)
    with pytest.warns(NeuralyzerWarning, match=r"plugin theirs of neuralyzer\.signals is left out: it has no name"):
        assert list(catalogue.signals()) == ALL


def test_a_third_partys_signal_never_takes_the_place_of_another(third_party):
    class Margin(Entropy):
        name = "margin"

    third_party(Margin)
    with pytest.warns(
        NeuralyzerWarning, match=r"calls itself 'margin', which neuralyzer\.signals\.margin\.Margin does"
    ):
        assert type(catalogue.signals()["margin"]).__module__ == "neuralyzer.signals.margin"


def test_what_needs_weights_is_what_needs_a_capability():
    found = catalogue.signals()
    assert [name for name, signal in found.items() if needs_weights(signal)] == [
        *OF_TEXTS[:4],
        "relearned",
        *OF_TEXTS[4:],
        "fisher",
    ]
    older = type("Older", (Entropy,), {"needs_weights": False})
    newer = type("Newer", (Entropy,), {"needs": frozenset()})
    assert needs_weights(Entropy()) and not needs_weights(newer())
    with pytest.warns(DeprecationWarning, match="Older.needs_weights is now needs"):
        assert not needs_weights(older())
