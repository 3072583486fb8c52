"""The icon, drawn from the state: its shape and its colour each tell the level, a badge counts what needs the user.

Drawn for each size on its own, with every edge on a whole pixel, so that it is crisp at 16 pixels too. The colours
stand out (3:1 at least) from a light taskbar and from a dark one.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Final

from PIL import Image, ImageChops, ImageDraw

from resilience.degradation.levels import DegradationLevel

SIZES: Final = (16, 20, 24, 32, 40, 48, 64, 256)
"""Edge lengths in pixels: the notification area's at 100 to 250 %, and those of windows and files."""

COLOURS: Final = {
    DegradationLevel.FULL: "#1a7f37",
    DegradationLevel.DEGRADED_LLM: "#9a6700",
    DegradationLevel.LIMITED_EXTERNAL: "#bc4c00",
    DegradationLevel.MINIMAL: "#cf222e",
    DegradationLevel.SAFE_MODE: "#8250df",
}
_BADGE: Final = "#0969da"
_WHITE: Final = "#ffffff"

# Everything below is drawn on a grid of 16 by 16; a point is (across, down).
_Points = tuple[tuple[float, float], ...]
_OUTLINES: Final[dict[DegradationLevel, _Points]] = {
    DegradationLevel.DEGRADED_LLM: ((8, 0), (16, 15), (0, 15)),
    DegradationLevel.LIMITED_EXTERNAL: ((8, 0), (16, 8), (8, 16), (0, 8)),
    DegradationLevel.MINIMAL: ((1, 1), (15, 1), (15, 15), (1, 15)),
    DegradationLevel.SAFE_MODE: ((8, 0), (15, 2), (15, 8), (13, 12), (8, 16), (3, 12), (1, 8), (1, 2)),
}  # FULL is a disc
_MARKS: Final[dict[DegradationLevel, tuple[_Points, ...]]] = {
    DegradationLevel.FULL: (((3, 8), (5, 6), (7, 8), (11, 4), (13, 6), (7, 12)),),
    DegradationLevel.DEGRADED_LLM: (((7, 5), (9, 5), (9, 10), (7, 10)), ((7, 11), (9, 11), (9, 13), (7, 13))),
    DegradationLevel.LIMITED_EXTERNAL: (((4, 7), (12, 7), (12, 9), (4, 9)),),
    DegradationLevel.MINIMAL: (
        ((4, 6), (6, 4), (12, 10), (10, 12)),
        ((10, 4), (12, 6), (6, 12), (4, 10)),
    ),
    DegradationLevel.SAFE_MODE: (((5, 4), (7, 4), (7, 11), (5, 11)), ((9, 4), (11, 4), (11, 11), (9, 11))),
}
# Digits of 3 by 5 pixels, a row each: no font is legible at this size.
_DIGITS: Final = {
    "0": "111 101 101 101 111", "1": "010 110 010 010 111", "2": "111 001 111 100 111", "3": "111 001 111 001 111",
    "4": "101 101 111 001 001", "5": "111 100 111 001 111", "6": "111 100 111 101 111", "7": "111 001 010 010 010",
    "8": "111 101 111 101 111", "9": "111 101 111 001 111", "+": "000 010 111 010 000",
}  # fmt: skip
_FINER: Final = 8  # how many times larger things are drawn before they are scaled down, for smooth slopes


def draw(level: DegradationLevel, needs_you: int, size: int) -> Image.Image:
    """The icon, ``size`` by ``size`` pixels with transparency; without a badge when ``needs_you`` is 0."""
    outline = _mask(size, _OUTLINES.get(level))
    icon = Image.new("RGBA", (size, size), COLOURS[level])
    icon.paste(_WHITE, mask=_mask(size, *_MARKS[level]))
    icon.putalpha(outline)
    return _with_badge(icon, str(needs_you) if needs_you < 10 else "9+") if needs_you > 0 else icon


def ico_bytes() -> bytes:
    """The program's own icon as an .ico file of all sizes; as bitmaps, which every tool that reads icons takes."""
    *smaller, largest = (draw(DegradationLevel.FULL, 0, size) for size in SIZES)
    file = BytesIO()
    sizes = [(size, size) for size in SIZES]
    largest.save(file, format="ICO", sizes=sizes, append_images=smaller, bitmap_format="bmp")
    return file.getvalue()


def _mask(size: int, *polygons: _Points | None, snapped: bool = True) -> Image.Image:
    """Where the polygons are; None is a disc. ``snapped`` puts every point on the nearest whole pixel."""
    step = _FINER if snapped else 1
    large = Image.new("L", (size * _FINER, size * _FINER))
    pen = ImageDraw.Draw(large)
    for points in polygons:
        across, down = zip(*(points or _box(1, 1, 15, 15)), strict=True)
        corners = list(zip(_scaled(across, size, step), _scaled(down, size, step), strict=True))
        if points is None:
            pen.ellipse((*corners[0], *corners[2]), fill=255)
        else:
            pen.polygon(corners, fill=255)
    return large.resize((size, size), Image.Resampling.BOX)


def _scaled(units: Iterable[float], size: int, step: int) -> list[int]:
    """Where points of the grid lie along one axis of a mask; a far edge is the last pixel that is still inside."""
    along = [*units]
    middle = (min(along) + max(along)) / 2
    return [round(unit * size * _FINER / 16 / step) * step - (unit > middle) for unit in along]


def _box(left: float, top: float, right: float, bottom: float) -> _Points:
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _with_badge(icon: Image.Image, count: str) -> Image.Image:
    """``icon`` with ``count`` in its lower right corner, cut out around it so that both stay apart."""
    margin = 2 if len(count) == 1 else 1
    left, top = 17 - 4 * len(count) - 2 * margin, 9
    apart = _mask(icon.width, _box(left - 1, top - 1, 16, 16))
    icon.putalpha(ImageChops.subtract(icon.getchannel("A"), apart))
    icon.paste(_BADGE, mask=_mask(icon.width, _box(left, top, 16, 16)))
    lit = [
        (left + margin + 4 * place + column, top + 1 + row)
        for place, digit in enumerate(count)
        for row, pixels in enumerate(_DIGITS[digit].split())
        for column, pixel in enumerate(pixels)
        if pixel == "1"
    ]
    icon.paste(_WHITE, mask=_mask(icon.width, *(_box(x, y, x + 1, y + 1) for x, y in lit), snapped=False))
    return icon
