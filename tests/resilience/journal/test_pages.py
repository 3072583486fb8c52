"""Rows read from pages without SQLite, whatever a damaged file and its log say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience import home
from resilience.journal import pages
from tests.resilience.journal.test_ahead import COMMITS, flipped, left


@pytest.mark.parametrize("bit", [6, 0])
def test_a_page_number_that_has_flipped_does_not_have_a_billion_pages_looked_through(tmp_path: Path, bit: int) -> None:
    path, looked = tmp_path / home.JOURNAL, 0
    flipped(path, left(path), 32 + 3 * 4120, bit)

    def is_ending() -> bool:
        nonlocal looked
        looked += 1
        return looked > 1000

    found = {number for _, rows in pages.rows(path, lambda _: True, is_ending) for number, _ in rows}
    assert looked < 100
    assert found == {*range(1, COMMITS + 1)}
