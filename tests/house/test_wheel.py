"""The wheel holds all that the shop needs: it serves from any folder, without the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A fresh environment's python, with the built wheel unpacked and this one's libraries at hand."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    venv.create(tmp_path / "env", symlinks=True)
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    # Only the folder: the link to the checkout that lies in it is not followed from here.
    (packages / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
    return tmp_path / "env/bin/python"


def test_the_wheel_serves_pages_pictures_and_goods_from_any_folder(
    installed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "anywhere"
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ECOKART_", "PYTHON"))}
    server = subprocess.Popen(
        [installed, "-m", "ecokart", "serve"],
        cwd=folder,
        env=environment | {"ECOKART_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = _address(server)
        assert "prod-031" in _read(f"{url}/api/products")
        assert "<svg" in _read(f"{url}/pictures/prod-001.svg")
        page = _read(f"{url}/products/prod-001")
        assert "In den Korb" in page
        style = re.search(r'href="(/static/shop\.css[^"]*)"', page)
        assert style
        assert "--" in _read(url + style[1])
        assert (folder / "data/ecokart.db").is_file()
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE_SECONDS)


def _address(server: subprocess.Popen[str]) -> str:
    """Where it listens, as its log says."""
    assert server.stdout
    for line in server.stdout:
        if found := re.search(r"running on (http://[0-9.:]+)", line):
            return found[1]
    raise AssertionError("the server ended before it listened")


def _read(url: str) -> str:
    return httpx.get(url, timeout=PATIENCE_SECONDS).raise_for_status().text
