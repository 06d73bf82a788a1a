"""The few SVG shapes that charts of a plan are drawn with; text stays text, so a reader's own fonts show any script."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

TICKS = 5


@dataclass(frozen=True)
class Scale:
    """Where numbers lie on an axis: `low` at pixel `start`, `high` at pixel `end`.

    >>> Scale(0.0, 10.0, 100.0, 200.0).at(5.0)
    150.0
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a number."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers along the axis, its ends among them."""
        step = _round_step(self.high - self.low)
        return [self.low + step * number for number in range(round((self.high - self.low) / step) + 1)]


def scale(values: Sequence[float], start: float, end: float) -> Scale:
    """A scale from zero, or less, to the largest of some numbers, its ends round.

    >>> scale([130.0, 870.0], 0.0, 100.0).high
    1000.0
    """
    low, high = min(0.0, *values), max(0.0, *values)
    if low == high:
        high = 1.0
    step = _round_step(high - low)
    return Scale(math.floor(low / step) * step, math.ceil(high / step) * step, start, end)


def _round_step(span: float) -> float:
    """The least of 1, 2, 5, 10, ... that goes into a span at most `TICKS` times, but for rounding."""
    raw = span / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= raw * (1 - 1e-9))


def shape(name: str, content: str = "", /, **attributes: str | float) -> str:
    """An element; `content` is markup already. Attributes are escaped, `stroke_width` is written stroke-width.

    >>> shape("rect", x=1, fill="red")
    '<rect x="1.0" fill="red"></rect>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else f"{value:.1f}"}"'
        for key, value in attributes.items()
    )
    return f"<{name}{given}>{content}</{name}>"


def line(x1: float, y1: float, x2: float, y2: float, stroke: str, **attributes: str | float) -> str:
    """A straight line."""
    return shape("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, **attributes)


def words(x: float, y: float, text: str, **attributes: str | float) -> str:
    """A text, escaped, that begins at a point (`text_anchor="end"`: that ends there)."""
    return shape("text", escape(text), x=x, y=y, **attributes)


def path(points: Sequence[tuple[float, float]], *, closed: bool = False, **attributes: str | float) -> str:
    """A line through points, or the area they enclose."""
    return shape(
        "polygon" if closed else "polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), **attributes
    )


def figure(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    """A drawing under its title, as HTML."""
    drawn = shape(
        "svg", "".join(parts), viewBox=f"0 0 {width:.0f} {height:.0f}", width=width, height=height, role="img",
        aria_label=title,
    )  # fmt: skip
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawn}</figure>"


def shortened(text: str, columns: int) -> str:
    """A text cut to a number of columns, where a Chinese, Japanese or Korean sign takes two.

    >>> shortened("a name", 10), shortened("a longer name", 10), shortened("小红书小红书", 7)
    ('a name', 'a longer …', '小红书…')
    """
    widths = [2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text]
    if sum(widths) <= columns:
        return text
    kept, used = 0, 0
    while used + widths[kept] <= columns - 1:
        used += widths[kept]
        kept += 1
    return f"{text[:kept]}…"
