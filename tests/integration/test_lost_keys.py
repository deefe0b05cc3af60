"""Keys that are missing stop a store until an operator says that they are lost (decision 18)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import requests

from tests.conformance.builders import agent, new_id, statement
from tests.conformance.client import Api, must
from tests.integration.privacy_desk import place
from tests.services import Griffel


def test_an_older_vault_serves_only_once_what_it_lacks_is_given_up(make_lrs: Callable[..., Griffel]) -> None:
    server = make_lrs("embedded").start()
    server.credential("all")
    api = Api(server.url, server.key, server.secret, "2.0.0")
    early, late = agent(), agent()
    before, after = (statement(id=new_id(), actor=one) for one in (early, late))
    api.store(before)
    server.stop()
    vault, older = server.data_dir / "vault", server.data_dir.parent / "older"
    shutil.copytree(vault, older)
    server.start()
    api.store(after)
    server.stop()
    shutil.rmtree(vault)
    shutil.copytree(older, vault)
    refused = server.command("serve", *place(server), "--port", str(server.port), check=False)
    assert refused.returncode != 0
    assert "confirm-lost" in refused.stderr
    counted = json.loads(server.command("keys", "confirm-lost", *place(server), "--json").stdout)
    assert (counted["owners"], counted["confirmed"]) == (1, False)
    assert server.command("serve", *place(server), "--port", str(server.port), check=False).returncode != 0
    assert json.loads(server.command("keys", "confirm-lost", *place(server), "--yes", "--json").stdout)["confirmed"]
    server.start()
    try:
        assert api.fetch(before["id"])["actor"]["mbox"] == early["mbox"]
        assert api.get(statementId=after["id"]).status_code == 404
        must(409, api.post(after))
        again = statement(id=new_id(), actor=late)
        api.store(again)
        assert api.found(agent=late) == [again["id"]]
        assert requests.get(f"{server.base}/health/ready", timeout=10).status_code == 200
    finally:
        server.stop()
