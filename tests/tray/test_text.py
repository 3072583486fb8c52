"""Text as the fields of the Windows shell take it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tray.text import fitted

CRAB = "\U0001f980"  # two UTF-16 units
LAST = "\uffff"  # one unit, and none more


@pytest.mark.parametrize(
    ("text", "units", "fits"),
    [
        ("", 5, ""), ("abcde", 5, "abcde"), ("abcdef", 5, "abcd…"), ("a", 1, "a"), ("ab", 1, "…"),
        (CRAB * 2, 4, CRAB * 2), (CRAB * 3, 5, f"{CRAB * 2}…"), (CRAB * 3, 4, f"{CRAB}…"), (f"a{CRAB * 2}", 4, f"a{CRAB}…"),
        (LAST * 5, 5, LAST * 5), (LAST * 6, 5, f"{LAST * 4}…"), ("Xxxxxx", 5, "Xxxx…"),
        ("abc def", 5, "abc…"), ("  ab  cd  ", 5, "ab cd"), ("abcd     ", 5, "abcd"),
        ("a\r\nb\tc", 9, "a b c"), ("a\x00b\x1b[2J", 9, "a b [2J"), ("a\u202eb\u200bc", 9, "abc"), ("a\ud83eb", 9, "ab"),
        (f"{' ' * 39}x", 5, "x"), (f"{' ' * 40}x", 5, ""),
    ],
)  # fmt: skip
def test_text_is_one_visible_line_that_is_cut_by_its_units(text: str, units: int, fits: str) -> None:
    """The ellipsis counts, half a pair never remains, and of a long text only the beginning is looked at."""
    assert fitted(text, units) == fits


@given(st.text(), st.integers(1, 30))
def test_whatever_comes_fits(text: str, units: int) -> None:
    line = fitted(text, units)
    assert len(line.encode("utf-16-le")) // 2 <= units
    assert line == line.strip()
