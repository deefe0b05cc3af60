"""The JavaScript client `@xapi/xapi`, as it comes from npm, through both its ways to send: axios and fetch.

Each script in js/ holds one conversation and says `done` at its end; what it finds wrong it throws.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.services import Griffel

ADAPTERS = ("axios", "fetch")
SCRIPTS = ("statements", "voiding", "documents", "attachments")
# Under Node.js axios puts application/octet-stream over the type of a body that is a Blob, which multipart ones are.
RUNS = [
    (script, adapter) for script in SCRIPTS for adapter in ADAPTERS if (script, adapter) != ("attachments", "axios")
]
BOUND_S = 60


@pytest.mark.parametrize("version", ["1.0.3", "1.0.0"])
@pytest.mark.parametrize(("script", "adapter"), RUNS)
def test_the_client_gets_through_its_conversation(
    lrs: Griffel, javascript_client: tuple[str, Path], script: str, adapter: str, version: str
) -> None:
    node, folder = javascript_client
    told = {
        "GRIFFEL_URL": lrs.url,
        "GRIFFEL_KEY": lrs.key,
        "GRIFFEL_SECRET": lrs.secret,
        "XAPI_ADAPTER": adapter,
        "XAPI_VERSION": version,
        "NO_PROXY": "127.0.0.1",
    }
    said = subprocess.run(
        [node, folder / f"{script}.mjs"],
        cwd=folder,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND_S,
    )
    assert said.returncode == 0, said.stdout + said.stderr[-4000:]
    assert said.stdout.startswith("done")


def test_each_script_is_run() -> None:
    folder = Path(__file__).parent / "js"
    assert {path.stem for path in folder.glob("*.mjs")} == {*SCRIPTS, "client"}
