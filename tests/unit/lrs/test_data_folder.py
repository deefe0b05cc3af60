"""The data folder: one process at a time, and a socket to reach it by."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrs.data_folder import FolderTaken, control_socket, locked
from lrs.errors import Misconfigured


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    with locked(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "lock").stat().st_mode & 0o777 == 0o600


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(FolderTaken, match="--data") as refused, locked(tmp_path):
            pass
        assert str(tmp_path) in refused.value.detail
    with locked(tmp_path):
        pass


def test_two_folders_can_be_held(tmp_path: Path) -> None:
    with locked(tmp_path / "a"), locked(tmp_path / "b"):
        pass


def test_a_folder_is_free_when_its_block_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError
    with locked(tmp_path):
        pass


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until it is killed."""
    code = (
        "import sys; from pathlib import Path; from lrs.data_folder import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_is_free_again_when_who_held_it_was_killed(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(FolderTaken), locked(tmp_path):
        pass
    holder.kill()
    holder.wait(10)
    with locked(tmp_path):
        pass


def test_a_taken_folder_is_a_setting_to_mend() -> None:
    assert issubclass(FolderTaken, Misconfigured)


def test_the_socket_lies_in_the_folder(tmp_path: Path) -> None:
    if len(os.fsencode(tmp_path)) < 80:
        assert control_socket(tmp_path) == tmp_path / "control.sock"


def test_a_path_too_long_for_a_socket_has_a_short_one_that_is_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    long = tmp_path / ("x" * 90) / "data"
    path = control_socket(long)
    assert path == control_socket(long)
    assert path != control_socket(tmp_path / ("y" * 90) / "data")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def test_a_relative_folder_has_the_socket_of_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert control_socket(Path("data")) == control_socket(tmp_path / "data")


def test_somebody_elses_folder_for_sockets_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uid = os.getuid()
    (tmp_path / f"griffel-{uid + 1}").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(Misconfigured, match="shorter"):
        control_socket(tmp_path / ("x" * 90))
