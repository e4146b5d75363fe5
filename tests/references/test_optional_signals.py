"""Signals that references are read by only where they are asked for."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from neuralyzer.errors import ReferencesError, UsageError
from neuralyzer.references.measurement import all_members
from neuralyzer.references.pool import References
from neuralyzer.signals import catalogue
from neuralyzer.signals.margin import Margin
from neuralyzer.workspace import plugins
from tests.references import world

DEFAULT = ["margin", "augmented", "relearned", "correct", "fisher"]


class Doubled(Margin):
    """Twice the margin."""

    name, optional = "doubled", True

    def measure(self, model, rows, holdout, context):
        on_rows, on_holdout = super().measure(model, rows, holdout, context)
        return 2 * on_rows, 2 * on_holdout


@pytest.fixture
def doubled(monkeypatch):
    """The optional signal as a third party's; here each member is read in this process."""
    entry = SimpleNamespace(name="theirs", load=lambda: Doubled)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == "neuralyzer.signals" else [])
    monkeypatch.setattr(all_members, "SPREAD", float("inf"))
    catalogue.signals.cache_clear()
    yield
    monkeypatch.undo()
    catalogue.signals.cache_clear()


def test_only_who_asks_is_read_by_it(doubled, oracle, tmp_path):
    plain = References.fit(oracle, 16, workspace=tmp_path / "plain", backend="vectorised")
    asked = References.fit(oracle, 16, workspace=tmp_path / "asked", backend="vectorised", signals=["doubled"])
    assert list(plain.evaluator.signals) == plain.head["signals"] == DEFAULT
    assert list(asked.evaluator.signals) == asked.head["signals"] == [*DEFAULT, "doubled"]
    assert plain.digest != asked.digest
    own = asked.tuning.values.signals
    np.testing.assert_array_equal(own["doubled"].rows, 2 * own["margin"].rows)
    np.testing.assert_array_equal(own["margin"].rows, plain.tuning.values.signals["margin"].rows)
    asked.erase(np.flatnonzero(world.SUBJECTS == "s00"), "case")
    written = asked.store.array("doubled.rows", (16, world.ROWS))
    assert np.isnan(written[:, :10]).all() and not np.isnan(written[:, 10:]).any()


def test_a_pool_that_was_not_read_by_it_is_refused(doubled, copied, oracle, tmp_path):
    arguments = {"workspace": tmp_path, "backend": "vectorised"}
    with pytest.raises(ReferencesError, match="were not read by doubled; remove that folder to make them anew"):
        References.fit(oracle, 16, signals=["doubled"], **arguments)
    assert References.fit(oracle, 16, signals=["fisher"], **arguments).size == 16  # it was, without being asked to


def test_a_signal_that_nobody_knows_is_refused_before_anything_is_trained(oracle, tmp_path):
    with pytest.raises(UsageError, match="there is no signal 'smell'; 'neuralyzer signals' lists them"):
        References.fit(oracle, 16, workspace=tmp_path, signals=["smell"])
    with pytest.raises(UsageError, match="the signal sampled cannot read a torch module"):
        References.fit(oracle, 16, workspace=tmp_path, signals=["sampled"])
    assert not list(tmp_path.rglob("*.npy"))


def test_a_pool_of_an_earlier_version_has_the_signals_that_it_has_settings_of(copied, oracle):
    head = json.loads(copied.store.head.read_text())
    del head["signals"], head["settings"]["fisher"]
    copied.store.head.write_text(json.dumps(head))
    opened = References.open(copied.store.root, oracle)
    assert list(opened.evaluator.signals) == list(opened.tuning.values.signals) == DEFAULT[:-1]
