"""What a process writes, piece by piece: each line once, bounded, without secrets, also over a file that was put aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience.processes.output import Piece, aside, piece_after, rotate
from resilience.redaction import Redactor


def plain(text: str) -> str:
    return text


def look(path: Path, mark: str = "", most: int = 1000) -> Piece:
    return piece_after(path, mark, plain, most)


def write(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


def test_each_line_comes_once_and_one_that_is_not_ended_again(path: Path) -> None:
    write(path, "one\ntw")
    first = look(path)
    assert (first.text, first.rest) == ("one\n", "tw")
    write(path, "o\nthree\r\n")
    second = look(path, first.mark)
    assert (second.text, second.rest, second.skipped, second.anew) == ("two\nthree\n", "", 0, False)
    assert look(path, second.mark)[:3] == ("", "", second.mark)


def test_of_very_much_the_last_comes_from_the_beginning_of_a_line(path: Path) -> None:
    write(path, "x" * 99 + "\n")
    mark = look(path).mark
    write(path, "".join(f"{number:03}\n" for number in range(500)))
    piece = look(path, mark, most=100)
    assert (piece.text.partition("\n")[0], piece.text[-4:], len(piece.text)) == ("476", "499\n", 96)
    assert piece.skipped == 500 * 4 - 96
    assert look(path, most=100).skipped == 0, "who looks first has missed nothing"


def test_a_line_without_end_comes_in_parts(path: Path) -> None:
    write(path, "y" * 20_000)
    piece = look(path, most=30_000)
    assert (len(piece.text), piece.rest) == (20_000, "")
    write(path, "z\n")
    assert look(path, piece.mark).text == "z\n"


def test_what_was_put_aside_is_read_to_its_end_first(path: Path) -> None:
    write(path, "one\n")
    mark = look(path).mark
    write(path, "two\n")
    rotate(path, 3)
    write(path, "three\n")
    piece = look(path, mark)
    assert (piece.text, piece.anew) == ("two\nthree\n", False)
    write(path, "four\n")
    assert look(path, piece.mark).text == "four\n"


def test_where_what_was_seen_last_is_gone_it_says_so(path: Path) -> None:
    write(path, "much was here\n")
    mark = look(path).mark
    path.write_bytes(b"new\n")
    piece = look(path, mark)
    assert (piece.text, piece.anew) == ("new\n", True)
    aside(path).write_bytes(b"a\n")
    assert look(path, mark)[:1] == ("new\n",)
    assert look(path, mark).anew, "what was put aside is shorter than what was seen"


@pytest.mark.parametrize("mark", ["", "x", "-", "1", "-1-0", "9" * 30, "1-" + "9" * 30, "\u0661-0", "1-2-3"])
def test_a_mark_that_is_none_means_the_end_of_it(path: Path, mark: str) -> None:
    write(path, "one\n")
    assert look(path, mark)[:2] == ("one\n", "")


def test_without_a_file_there_is_nothing_and_the_mark_stays(path: Path) -> None:
    assert look(path, "5-0") == Piece("", "", "5-0")


def test_terminal_escapes_are_taken_out(path: Path) -> None:
    write(path, "\x1b[31mred\x1b[0m \x1b]0;title\x07\x00bell\x07\n")
    assert look(path).text == "red bell\n"


KEY = "-----BEGIN PRIVATE KEY-----\n" + "".join(f"{'MIIabc' * 10}{number}\n" for number in range(20))


def test_a_secret_that_comes_in_pieces_is_shown_in_none(path: Path) -> None:
    clean = Redactor().text
    shown, mark = "", ""
    for line in [*("begin\npassword: " + KEY + "-----END PRIVATE KEY-----\nend\n").splitlines(keepends=True)]:
        for part in (line[:7], line[7:]):
            write(path, part)
            piece = piece_after(path, mark, clean)
            shown, mark = shown + piece.text, piece.mark
            assert "MIIabc" not in piece.text + piece.rest
    assert (shown.startswith("begin\n"), shown.endswith("end\n")) == (True, True)


def test_a_file_that_cannot_be_read_is_no_fault(path: Path) -> None:
    path.mkdir()
    assert look(path, "5-0").text == ""
