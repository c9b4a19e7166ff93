"""Finding what the tests need: a line for what is missing, and nothing that is half there counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import setup_engines
from tests.setup_engines import Engine, JavaEngine, provide, require

NOTHING = Engine("Nothing", ("no-such-program",), "nothing")


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with only what the test puts into this folder: no apt-get, no Java."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(setup_engines, "JARS", tmp_path / "jars")
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> JavaEngine:
    pom = tmp_path / "some.pom.xml"
    pom.write_text("<project/>")
    return JavaEngine("Some engine", pom)


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_what_can_not_be_had_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    provide([NOTHING])
    assert capsys.readouterr().out == "Nothing is missing: the tests that need it will skip.\n"
    monkeypatch.setenv("CI", "true")
    provide([NOTHING])
    assert capsys.readouterr().out == "Nothing is missing: the tests that need it will fail.\n"


def test_a_test_that_needs_it_skips_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(pytest.skip.Exception, match="Nothing is missing: install nothing"):
        require(NOTHING)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Nothing is missing: install nothing"):
        require(NOTHING)


def test_of_several_versions_the_newest_is_taken(tmp_path: Path) -> None:
    for version in ("9", "15", "10"):
        (tmp_path / version).mkdir()
        program(tmp_path / version, "postgres", "")
    found = Engine("PostgreSQL", ("postgres", f"{tmp_path}/*/postgres"), "postgresql").find()
    assert found == str(tmp_path / "15" / "postgres")


def test_jars_are_fetched_once_and_again_for_another_pom(
    bare: Path, engine: JavaEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    program(bare, "java", "")
    program(bare, "mvn", f'/bin/mkdir -p "{engine.folder}"')
    assert engine.find() is None
    provide([engine])
    assert engine.find() == str(engine.folder)
    assert capsys.readouterr().out == "Fetching for the tests: Some engine …\n"
    provide([engine])
    assert capsys.readouterr().out == ""
    engine.pom.write_text("<project>newer</project>")
    assert engine.find() is None
    provide([engine])
    assert engine.find() is not None


def test_a_download_that_fails_says_why_and_leaves_nothing_that_counts(
    bare: Path, engine: JavaEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    program(bare, "java", "")
    program(bare, "mvn", f'/bin/mkdir -p "{engine.folder}"; echo "[ERROR] no way"; exit 1')
    provide([engine])
    assert engine.find() is None
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Maven, for Some engine, failed ([ERROR] no way): going on without.",
        "Some engine is missing: the tests that need it will skip.",
    ]
