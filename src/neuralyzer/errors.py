"""Every error that a user can cause: what was wrong, where, and what to do, in one line."""


class NeuralyzerError(Exception):
    """The base of all errors that a user can cause; the command line prints it and exits 2."""


class UsageError(NeuralyzerError):
    """Arguments that do not fit together, or a configuration that cannot be used."""


class NoVerdictError(UsageError):
    """No option of a case came to a verdict."""


class UnreadableError(NeuralyzerError):
    """A file that is missing, truncated, or not what its name says."""


class UnknownSubjectError(NeuralyzerError):
    """A request names subjects, rows or classes that the data does not hold."""


class ForgetSetError(NeuralyzerError):
    """A forget set that is empty, or that is all the data."""


class HoldoutError(NeuralyzerError):
    """A holdout that is missing, too small, or shares row ids with the training rows."""


class ReferencesError(NeuralyzerError):
    """References that cannot judge: other data, another recipe, too few members."""


class WeightsError(NeuralyzerError):
    """Weights that do not fit the recipe, are not finite, or are a pickle."""


class NotFiniteError(NeuralyzerError):
    """A loss, output or gradient that is NaN or infinite."""


class DataChangedError(NeuralyzerError):
    """A data set whose digest is not the one the model was trained on, or a file that changed while it was in use."""


class LooksSpentError(NeuralyzerError):
    """The evaluation split was opened as often as the error rate allows."""


class BudgetSpentError(NeuralyzerError):
    """Certified removals that together would spend more than the budget of their certificate."""


class StorageError(NeuralyzerError):
    """A disk that is full or cannot be written; nothing half-written stays."""


class AcceptanceError(NeuralyzerError):
    """An acceptance command that cannot be run at all (not one that fails)."""


class CertificateError(NeuralyzerError):
    """A certificate that is not an envelope of ours, or a key that cannot be used."""


class LedgerError(NeuralyzerError):
    """Raised if a ledger was changed, or cannot give what was asked for."""


class NeuralyzerWarning(UserWarning):
    """A warning that stops nothing; the command line prints it in one line on stderr."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message; empty where it has none."""
    return (str(error).strip().splitlines() or [""])[0]
