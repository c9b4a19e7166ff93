"""`ecokart tables` and `ecokart spread`, as they are typed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ecokart.app import open_ports
from ecokart.cli import main
from ecokart.core.records import Versioned
from ecokart.features.catalog.model import STOCK, Stock
from ecokart.rooms import TABLES
from ecokart.settings import load
from tests.dynamodb import make_tables
from tests.servers import dynamodb_url

MUG = "EK-020-GREEN"


def typed(folder: Path, *words: str, **settings: str) -> Result:
    environ = {"ECOKART_DATA_DIR": str(folder)} | settings
    return CliRunner().invoke(main, words, env=environ)


def stock_of(sku: str, settings: dict[str, str]) -> Stock:
    async def got() -> Versioned[Stock] | None:
        ports = open_ports(load(settings))
        try:
            return await ports.records.get(STOCK, sku)
        finally:
            await ports.close()

    found = asyncio.run(got())
    assert found
    return found.value


def test_records_that_make_their_own_tables_say_so(tmp_path: Path) -> None:
    for command in ("create", "show"):
        result = typed(tmp_path, "tables", command)
        assert result.exit_code == 0, result.output
        assert "by themselves" in result.stdout


def test_tables_that_are_missing_are_shown_and_named_when_they_are_used(tmp_path: Path) -> None:
    url = dynamodb_url()
    shown = typed(tmp_path, "tables", "show", ECOKART_RECORDS_URL=url)
    assert [line.split("\t")[1] for line in shown.stdout.splitlines()] == ["missing"] * len(TABLES)
    refused = typed(tmp_path, "seed", ECOKART_RECORDS_URL=url)
    assert refused.exit_code == 2
    assert "`ecokart tables create`" in refused.stderr
    make_tables(url, TABLES)
    shown = typed(tmp_path, "tables", "show", ECOKART_RECORDS_URL=url)
    assert [line.split("\t")[1] for line in shown.stdout.splitlines()] == ["active"] * len(TABLES)


def test_a_url_that_names_no_place_is_one_sentence(tmp_path: Path) -> None:
    refused = typed(tmp_path, "tables", "show", ECOKART_RECORDS_URL="dynamodb://eu-central-1")
    assert refused.exit_code == 2
    assert "dynamodb://region/prefix" in refused.stderr


@pytest.mark.parametrize("engine", ["sqlite", "dynamodb"])
def test_a_stock_is_split_and_stays_what_it_was(tmp_path: Path, engine: str) -> None:
    settings = {"ECOKART_DATA_DIR": str(tmp_path)}
    if engine == "dynamodb":
        settings["ECOKART_RECORDS_URL"] = dynamodb_url()
        make_tables(settings["ECOKART_RECORDS_URL"], TABLES)
    assert typed(tmp_path, "seed", **settings).exit_code == 0
    before = stock_of(MUG, settings)
    assert typed(tmp_path, "spread", MUG, "8", **settings).exit_code == 0
    after = stock_of(MUG, settings)
    assert (before.shards, after.shards) == (1, 8)
    assert (after.stock, after.reserved) == (before.stock, before.reserved)
    refused = typed(tmp_path, "spread", "no-such-sku", "8", **settings)
    assert (refused.exit_code, refused.stderr) == (2, "ecokart: This product doesn't exist\n")
    assert typed(tmp_path, "spread", MUG, "33", **settings).exit_code == 2
