"""`ecokart import orders`, as it is typed."""

from __future__ import annotations

import asyncio
import csv
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ecokart.app import open_ports
from ecokart.cli import main
from ecokart.core.events import OUTBOX
from ecokart.core.ports import Ports
from ecokart.core.records import Table
from ecokart.features.imports.files import COLUMNS
from ecokart.features.orders.model import ORDERS
from ecokart.settings import load
from tests.features.invoices import everything, line, orders, write

Typed = Callable[..., Result]


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    def type_in(*arguments: object) -> Result:
        words = ["import", "orders", *map(str, arguments)]
        return CliRunner().invoke(main, words, env={"ECOKART_DATA_DIR": str(tmp_path / "data")})

    return type_in


def ports_of(tmp_path: Path) -> Ports:
    return open_ports(load({"ECOKART_DATA_DIR": str(tmp_path / "data")}))


def count(tmp_path: Path, table: Table[Any]) -> int:
    async def counted() -> int:
        ports = ports_of(tmp_path)
        try:
            return len(await everything(ports, table))
        finally:
            await ports.records.close()

    return asyncio.run(counted())


def test_it_says_what_became_of_every_line(typed: Typed, tmp_path: Path) -> None:
    path = write(tmp_path, line(), line(StockCode="POST"), line(InvoiceNo="C1", CustomerID=""))
    result = typed(path)
    assert result.exit_code == 0, result.output
    assert "Read 3 lines of 2 invoices" in result.stdout
    assert "1 imported, 2 rejected." in result.stdout
    assert "€15.30" in result.stdout
    assert "amounts are taken as EUR" in result.stdout
    assert not result.stderr, "no progress bar where nobody sees it move"
    rejects = tmp_path / "data" / "import-rejects.csv"
    assert str(rejects) in result.stdout
    with rejects.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["file", "line", "reason", "sentence", *COLUMNS],
        [
            str(path),
            "3",
            "not_goods",
            "POST is no article but a charge or a correction.",
            *line(StockCode="POST").values(),
        ],
        [
            str(path),
            "4",
            "cancellation",
            "Invoice C1 cancels an earlier sale.",
            *line(InvoiceNo="C1", CustomerID="").values(),
        ],
    ]


def test_a_second_time_everything_is_here_already(typed: Typed, tmp_path: Path) -> None:
    path = write(tmp_path, line())
    typed(path)
    result = typed(path)
    assert "0 imported, 1 here already, 0 rejected." in result.stdout


def test_the_currency_and_the_place_of_the_rejects_can_be_chosen(
    typed: Typed, tmp_path: Path
) -> None:
    rejects = tmp_path / "new" / "rejects.csv"
    result = typed(write(tmp_path, line()), "--currency", "GBP", "--rejects", rejects)
    assert "£15.30" in result.stdout
    assert rejects.read_text().startswith("file,line,reason,sentence,InvoiceNo,")


def test_facts_do_not_pile_up_without_a_worker(typed: Typed, tmp_path: Path) -> None:
    typed(write(tmp_path, *[line(InvoiceNo=str(number)) for number in range(250)]))
    assert count(tmp_path, ORDERS) == 250
    assert count(tmp_path, OUTBOX) == 0


@pytest.mark.parametrize("content", [None, b"", b"a,b\n1,2\n", b"\x1f\x8b\x08\x00broken"])
def test_a_file_that_is_none_is_one_sentence(
    typed: Typed, tmp_path: Path, content: bytes | None
) -> None:
    good, bad = write(tmp_path, line()), tmp_path / "bad.csv"
    if content is not None:
        bad.write_bytes(content)
    result = typed(good, bad)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"ecokart: {bad} ")
    assert result.stderr.count("\n") == 1
    assert count(tmp_path, ORDERS) == 0, "the good one is not begun"


def test_the_rejects_never_overwrite_what_is_imported(typed: Typed, tmp_path: Path) -> None:
    path = write(tmp_path, line())
    before = path.read_bytes()
    result = typed(path, "--rejects", path)
    assert result.exit_code == 2
    assert path.read_bytes() == before


@pytest.mark.parametrize("arguments", [(), ("--currency", "XYZ", "a.csv"), ("--limit", "0", "a")])
def test_what_it_does_not_understand_it_refuses(typed: Typed, arguments: tuple[str, ...]) -> None:
    assert typed(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("ended_by", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
async def test_killed_in_the_middle_it_is_completed_by_the_next(
    tmp_path: Path, ended_by: signal.Signals, code: int
) -> None:
    invoices = 6000
    lines = [line(InvoiceNo=str(number), StockCode=str(number % 99)) for number in range(invoices)]
    path = write(tmp_path, *lines)
    command = [str(Path(sys.executable).with_name("ecokart")), "import", "orders", str(path)]
    environ = {"ECOKART_DATA_DIR": str(tmp_path / "data")}
    ports = ports_of(tmp_path)
    try:
        with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as begun:
            while not await ports.records.get(ORDERS, "imp-99"):
                assert begun.poll() is None
                await asyncio.sleep(0.01)
            begun.send_signal(ended_by)
            assert begun.wait() == code
        assert 99 < len(await orders(ports)) < invoices
        subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
        assert len(await orders(ports)) == invoices
    finally:
        await ports.records.close()
