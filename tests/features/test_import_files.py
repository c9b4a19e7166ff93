"""Files of invoice lines as they come: packed, from other systems, damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ecokart.features.imports.files import COLUMNS, InvoiceFile, Row, UnreadableFile
from tests.features.invoices import LINE, line, text_of, write

USUAL = tuple(LINE.values())


def rows(path: Path) -> list[Row]:
    with InvoiceFile(path) as file:
        return list(file.rows())


def written(folder: Path, data: bytes, name: str = "invoices.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_record_is_given_with_the_line_where_it_begins(tmp_path: Path) -> None:
    path = write(tmp_path, line(), line(Description="TWO\nLINES"), line(InvoiceNo="536366"))
    assert [(row.line, row.values[0], row.flaw) for row in rows(path)] == [
        (2, "536365", ""),
        (3, "536365", ""),
        (5, "536366", ""),
    ]


def test_a_packed_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(text_of(line()).encode()), "invoices.dat")
    assert [row.values for row in rows(path)] == [USUAL]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(tmp_path: Path, end: str) -> None:
    path = written(tmp_path, text_of(line(), line(), end=end).encode())
    assert [(row.line, row.values) for row in rows(path)] == [(2, USUAL), (3, USUAL)]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbf" + text_of(line()).encode())
    assert [row.values for row in rows(path)] == [USUAL]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_an_older_encoding_is_read_as_well(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, text_of(line(Description="£10 GÂTEAU TIN")).encode(encoding))
    assert [row.values[2] for row in rows(path)] == ["£10 GÂTEAU TIN"]


def test_columns_may_stand_in_any_order_and_case_beside_others(tmp_path: Path) -> None:
    header = ["Shop", *(f" {name.lower()}" for name in reversed(COLUMNS))]
    text = ",".join(header) + "\n" + ",".join(["London", *reversed(USUAL)]) + "\n"
    assert [row.values for row in rows(written(tmp_path, text.encode()))] == [USUAL]


def test_empty_lines_are_no_records(tmp_path: Path) -> None:
    path = written(tmp_path, ("\n" + text_of(line()) + "\n\n" + ",".join(USUAL)).encode())
    assert [(row.line, row.values) for row in rows(path)] == [(3, USUAL), (6, USUAL)]


def test_a_header_alone_is_a_file_without_lines(tmp_path: Path) -> None:
    assert rows(write(tmp_path)) == []


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, b"InvoiceNo,StockCode,Description,Quantity,Price,CustomerID,Country\n")
    with pytest.raises(UnreadableFile, match="has no column InvoiceDate, UnitPrice;"):
        InvoiceFile(path)


@pytest.mark.parametrize("data", [b"", b"\n\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_said_to_be_one(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UnreadableFile, match=r"invoices\.csv is empty\."):
        InvoiceFile(written(tmp_path, data))


@pytest.mark.parametrize("name", ["nothing.csv", "."])
def test_what_is_no_file_is_said_to_be_unreadable(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableFile, match=r"can't be read: "):
        InvoiceFile(tmp_path / name)


def test_a_packed_file_that_breaks_off_says_where(tmp_path: Path) -> None:
    packed = gzip.compress(text_of(*[line(InvoiceNo=str(n)) for n in range(9999)]).encode())
    with InvoiceFile(written(tmp_path, packed[: len(packed) // 2])) as file:
        with pytest.raises(UnreadableFile, match=r"can't be read from line \d+ on: "):
            list(file.rows())
        assert 0 < file.position_bytes <= file.size_bytes


def test_a_record_of_other_columns_is_flawed_and_the_next_one_is_not(tmp_path: Path) -> None:
    text = text_of(line()) + "536366,71053\n" + ",".join([*USUAL, "more"]) + "\n"
    short, long, good = rows(written(tmp_path, (text + ",".join(USUAL)).encode()))[1:]
    assert short.flaw == "It has 2 columns, and the first line names 8."
    assert short.values == ("536366", "71053", "", "", "", "", "", "")
    assert long.flaw == "It has 9 columns, and the first line names 8."
    assert not good.flaw


def test_a_quotation_mark_that_is_never_closed_shows_how_far_it_reaches(tmp_path: Path) -> None:
    text = text_of(line()) + '536366,71053,"LANTERN,6\n' + text_of(line(), line())
    last = rows(written(tmp_path, text.encode()))[-1]
    assert last.line == 3
    assert last.flaw.endswith("It goes on to line 6: a quotation mark may be missing.")


def test_a_field_beyond_all_bounds_is_flawed_and_reading_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path, line(Description="X" * 200_000), line())
    flawed, good = rows(path)
    assert "field larger than field limit" in flawed.flaw
    assert good.values == USUAL
