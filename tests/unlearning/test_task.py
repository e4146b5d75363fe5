"""What a task is asked under its old names."""

import numpy as np
import pytest

from neuralyzer.methods import catalogue
from neuralyzer.unlearning.method import anytime


def test_old_names_work_with_a_warning(task):
    own = task()
    pairs = (("late", own.time_is_up), ("gone", own.removed_classes), ("outside", own.tuning_holdout))
    for name, wanted in (*pairs, ("witness", own.training_audit)):
        with pytest.warns(DeprecationWarning, match=f"Task.{name} is now"):
            np.testing.assert_equal(getattr(own, name), wanted)
    with pytest.raises(AttributeError, match="nothing"):
        _ = own.nothing


def test_a_method_that_says_hurries_is_anytime_with_a_warning():
    class Plugin:
        name, hurries = "plugin", True

    with pytest.warns(DeprecationWarning, match="hurries is now anytime"):
        assert anytime(Plugin())
    assert anytime(catalogue.make("datamodel-matching")) and not anytime(catalogue.make("retrain"))
