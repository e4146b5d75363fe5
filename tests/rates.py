"""What work takes, told to plans rather than timed, so that no test depends on what else the machine does."""

from neuralyzer.unlearning.cost import Rates

RATES = Rates(
    step=0.01,
    partial=5e-3,
    gradient=1e-5,
    single=1e-5,
    product=1e-6,
    solve=1e-4,
    factoring=0.02,
    forward=1e-6,
    reading=0.005,
)
