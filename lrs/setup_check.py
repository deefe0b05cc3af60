"""How an installation is set up, as far as that decides who can read what: rights, keys, swap, core dumps."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lrs.config import Mode, Settings, variable
from lrs.places import keys_folder

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FOLDER_MODE, _FILE_MODE = "0700", "0600"
SWAPS: Final = Path("/proc/swaps")


class SetupFinding(NamedTuple):
    """One thing that was looked at: how it is, and, where that is not good, what it means and what to do.

    good is None where it could not be looked at.
    """

    name: str
    found: str
    good: bool | None
    advice: str = ""


def check_setup(settings: Settings, *, swaps: Path = SWAPS) -> list[SetupFinding]:
    """Look at everything of the set-up that can be looked at from here. Raises nothing for what cannot."""
    found = [*_rights(settings), _root_keys(settings)]
    if settings.mode is Mode.CLUSTER:
        found.append(_databases(settings))
    return [*found, _swap(swaps), _core_dumps()]


def _rights(settings: Settings) -> Iterator[SetupFinding]:
    if settings.mode is Mode.EMBEDDED or os.path.exists(settings.data):  # noqa: PTH110  Path's own may raise
        yield _right("data folder", settings.data, _FOLDER_MODE)
    if settings.master_key:
        return
    folder = keys_folder(settings)
    yield _right("folder of the root keys", folder, _FOLDER_MODE)
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        wide = [path for path in files if path.stat().st_mode & _OTHERS]
    except OSError:
        return  # the finding about their folder says so
    if files:
        shown = f"{len(files)} files, {len(wide)} of them open to others" if wide else f"{len(files)}, all closed"
        advice = f"Others on this machine can read root keys: chmod {_FILE_MODE} {folder}/*"
        yield SetupFinding("root key files", shown, not wide, advice if wide else "")


def _right(name: str, path: Path, wanted: str) -> SetupFinding:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return SetupFinding(name, f"{path}: {error.strerror}", None, "Run this as the user that the server runs as.")
    wide = bool(mode & _OTHERS)
    advice = f"Others on this machine can look into it: chmod {wanted} {path}" if wide else ""
    return SetupFinding(name, f"{path}, {stat.S_IMODE(mode):04o}", not wide, advice)


def _root_keys(settings: Settings) -> SetupFinding:
    if settings.master_key:
        return SetupFinding(
            "root key",
            f"from {variable('master_key')}",
            good=False,
            advice="Nobody here can destroy a key that the environment holds, so certificates of erasure will say that "
            f"backups do not die with it. A key that can be destroyed: root keys in files, {variable('keys_dir')}.",
        )
    folder, data = keys_folder(settings).absolute(), settings.data.absolute()
    beside = folder.resolve().is_relative_to(data.resolve())
    if not beside and settings.mode is Mode.EMBEDDED and _one_disk(folder, data):
        return SetupFinding("root keys", f"{folder}, on the data's own disk", good=True, advice="")
    return SetupFinding(
        "root keys",
        f"{folder}, beside the data" if beside else f"{folder}, apart from the data",
        not beside,
        "A copy of the data folder, a backup or a stolen disk, is a copy of data and keys: it opens everything, also "
        "what is erased later. Stop the server, move the folder, and name its new place with "
        f"{variable('keys_dir')}; docs/how-to/keep-keys-apart.md has the steps."
        if beside
        else "",
    )


def _one_disk(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def _databases(settings: Settings) -> SetupFinding:
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  only a cluster needs it

    places = [conninfo_to_dict(url) for url in (settings.database_url, settings.keys_url)]
    log, vault = ((str(one.get("host", "")), str(one.get("port", "5432"))) for one in places)
    together = log == vault
    return SetupFinding(
        "databases of log and vault",
        "on one server" if together else "on servers of their own",
        not together,
        "One copy of that server is a copy of the log and of its wrapped keys; only the root keys then stand between "
        "it and the people in it. Put the vault on a server with a role and backups of its own."
        if together
        else "",
    )


def _swap(swaps: Path) -> SetupFinding:
    try:
        used = swaps.read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return SetupFinding("swap", "cannot be told on this system", None, "Look whether swap is off or encrypted.")
    advice = "Keys and opened data in memory can come to lie on a disk: swapoff -a, or encrypt the swap."
    return SetupFinding("swap", f"on, {len(used)}" if used else "off", not used, advice if used else "")


def _core_dumps() -> SetupFinding:
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    advice = (
        "A process that crashes may leave its memory, keys and all, in a file. Start the server with ulimit -c 0, or "
        "LimitCORE=0 in its systemd unit. (Looked at: what this command may leave, not a running server.)"
    )
    return SetupFinding("core dumps", "allowed" if soft else "off", not soft, advice if soft else "")
