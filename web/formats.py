"""Numbers as people read them: the fewest digits that distinguish (three significant), thousands apart."""

import math
from collections.abc import Callable


def number(value: float | int | None) -> str:
    """Three significant digits: 0.00812, 12.3, 4,096 (whole numbers whole); – for what is missing."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if isinstance(value, int) and size < 1e6:
        return f"{value:,}"
    if size >= 1e6:
        return large(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}"


def large(value: float | None) -> str:
    """A count: 940, 12,400, 8.2M, 1.3B."""
    if value is None:
        return "–"
    for unit, name in ((1e9, "B"), (1e6, "M")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{int(value):,}"


def percent(share: float | None) -> str:
    """A share as a percentage with two significant digits: 0.8%, 34%, 100%, 0.0021%."""
    if share is None or not math.isfinite(share):
        return "–"
    value = 100 * share
    if value == 0 or value >= 99.5:
        return f"{value:.0f}%"
    if value >= 10:
        return f"{value:.0f}%" if value < 95 else f"{value:.1f}".removesuffix(".0") + "%"
    digits = 1 - math.floor(math.log10(value))
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") + "%"


def signed(value: float) -> str:
    """Three significant digits with a sign, a true minus: +0.812, −12.3, 0."""
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{number(abs(value))}"


def fixed(value: float | None, digits: int = 2) -> str:
    """A fixed number of decimals with a true minus sign, for columns that line up."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """A time left: 40 s, 12 min, 3.5 h, 2 days; – for what is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit or (name == "h" and seconds >= unit):
            value = seconds / unit
            return f"{value:.0f} {name}" if value >= 10 or name == "min" else f"{value:.1f} {name}".replace(".0 ", " ")
    return f"{seconds:.0f} s"


def fixed_percent(share: float | None) -> str:
    """A share as a percentage with two decimals, for columns that line up."""
    return "–" if share is None or not math.isfinite(share) else f"{fixed(100 * share)}%"


def l0(value: float | None) -> str:
    """Features per token, to a tenth."""
    return "–" if value is None or not math.isfinite(value) else f"{value:,.1f}"


QUANTITIES: dict[str, Callable[[float | None], str]] = {
    "fvu": lambda value: fixed(value, 4),
    "ce_recovered": fixed_percent,
    "dead": fixed_percent,
    "l0": l0,
    "tokens": large,
    "features": large,
}
"""What SAEs are compared by, each written the same way on every page, to the digits of `saebench evaluate`."""


def quantity(value: float | None, name: str) -> str:
    """A value of one of `QUANTITIES`, or of another quantity to three significant digits."""
    return QUANTITIES.get(name, number)(value)
