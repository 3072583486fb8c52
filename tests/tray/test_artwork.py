from __future__ import annotations

import io
from itertools import combinations

import pytest
from PIL import Image, ImageChops

from resilience.degradation.levels import DegradationLevel
from tray.artwork import SIZES, draw, ico_bytes


@pytest.mark.parametrize("size", SIZES)
def test_no_two_levels_have_the_same_shape(size: int) -> None:
    """For those who do not see the colours: what is opaque and what is white differs by itself."""
    grey = {level: draw(level, 0, size).convert("LA").point(lambda value: 255 if value > 200 else 0) for level in DegradationLevel}
    for one, other in combinations(DegradationLevel, 2):
        different = ImageChops.difference(grey[one].convert("RGBA"), grey[other].convert("RGBA")).convert("L")
        assert sum(different.histogram()[1:]) > size * size * 0.04


def test_the_badge_shows_that_something_waits() -> None:
    assert draw(DegradationLevel.FULL, 0, 16).tobytes() != draw(DegradationLevel.FULL, 1, 16).tobytes()
    assert draw(DegradationLevel.FULL, 1, 16).tobytes() != draw(DegradationLevel.FULL, 2, 16).tobytes()
    assert draw(DegradationLevel.FULL, 10, 16).tobytes() == draw(DegradationLevel.FULL, 5000, 16).tobytes()


def test_the_programs_icon_has_every_size() -> None:
    icon = Image.open(io.BytesIO(ico_bytes()))
    assert {size for size, _ in icon.info["sizes"]} == set(SIZES)
