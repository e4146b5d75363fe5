"""The formats of numbers in the report: percent, durations, p-values; a missing number is a dash."""

MISSING = "–"
_NARROW_SPACE, _MINUS = "\u202f", "\u2212"


def percent(fraction: float | None, digits: int = 0) -> str:
    """Return a fraction as percent, such as ``104 %``."""
    if fraction is None:
        return MISSING
    text = f"{100 * fraction:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return f"{text.replace('-', _MINUS)}{_NARROW_SPACE}%"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of fractions, such as ``86 to 122 %``."""
    if low is None or high is None:
        return MISSING
    return f"{percent(low).removesuffix(f'{_NARROW_SPACE}%')} to {percent(high)}"


def seconds(duration: float | None) -> str:
    """Return a duration in the unit that people would use, such as ``2.4 s`` or ``12 min``."""
    if duration is None:
        return MISSING
    if duration < 10:
        return f"{duration:.1f}{_NARROW_SPACE}s" if duration >= 0.05 else f"under 0.1{_NARROW_SPACE}s"
    if duration < 120:
        return f"{duration:.0f}{_NARROW_SPACE}s"
    if duration < 7200:
        return f"{duration / 60:.0f}{_NARROW_SPACE}min"
    return f"{duration / 3600:.1f}{_NARROW_SPACE}h"


def p_value(p: float | None) -> str:
    """Return a p-value, such as ``p = 0.64``; the smallest are ``p < 0.001``."""
    if p is None:
        return MISSING
    sign, text = ("<", "0.001") if p < 0.001 else ("=", f"{p:.2g}" if p < 0.1 else f"{p:.2f}")
    return f"p{_NARROW_SPACE}{sign}{_NARROW_SPACE}{text}"


def chance(p: float) -> str:
    """Return a probability as percent, such as ``64 %``; the smallest are ``under 0.1 %``."""
    return f"under {percent(0.001, 1)}" if p < 0.001 else percent(p, 0 if p >= 0.1 else 1)


def utility(value: float | None, name: str, sign: bool = False) -> str:
    """Return a value of a utility measure, or with ``sign`` a change of it: of accuracy in percent (points)."""
    if value is None:
        return MISSING
    if "accuracy" in name.lower():
        # A difference of two percentages is in points; the table says so once, below.
        text = percent(value, 1) if not sign else percent(value, 1).removesuffix(f"{_NARROW_SPACE}%")
    else:
        text = f"{value:.4g}".replace("-", _MINUS)
    return f"+{text}" if sign and value > 0 else text


def number(value: float) -> str:
    """Return a whole number with its thousands set apart."""
    return f"{value:,.0f}".replace(",", _NARROW_SPACE)


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun, such as ``1 row`` or ``72 rows``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def change(value: float, sign: bool = True) -> str:
    """Return a change in two digits, such as ``+0.0031``; its sign is left out where ``sign`` is false."""
    text = f"{value:+.2g}" if sign else f"{value:.2g}"
    return text.replace("-", _MINUS)
