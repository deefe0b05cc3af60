"""A process that is suspended within a transaction holds its locks for a while, not for ever."""

from __future__ import annotations

import pytest

from lrs import postgres_vault
from lrs.errors import Busy
from lrs.postgres_vault import PostgresVault
from projections import postgres_views
from projections.postgres_views import PostgresViews
from projections.progress import Progress
from projections.view_store import Place, StoreBusy

SILENT_S = 1


def test_a_consumer_that_wakes_within_its_transaction_has_written_nothing_and_others_went_on(postgres_url, monkeypatch):
    monkeypatch.setattr(
        postgres_views,
        "_OPTIONS",
        postgres_views._OPTIONS.replace(
            f"idle_in_transaction_session_timeout={postgres_views.SILENT_S}s",
            f"idle_in_transaction_session_timeout={SILENT_S}s",
        ),
    )
    url = postgres_url()
    sleeper, other = (PostgresViews(url, opener=None) for _ in range(2))
    generation = sleeper.target(Progress())

    def both() -> None:
        with sleeper.transaction(generation, {0: 0}) as mine:
            mine.advance({0: Place(7, 7, 7)})
            with other.transaction(generation, {0: 0}) as others:
                others.advance({0: Place(9, 9, 9)})

    with pytest.raises(StoreBusy):
        both()
    assert sleeper.places(generation) == {0: Place(9, 9, 9)}
    sleeper.close()
    other.close()


def test_a_server_that_wakes_within_the_vaults_transaction_is_told_so_and_others_went_on(postgres_url, monkeypatch):
    monkeypatch.setattr(postgres_vault, "SILENT_S", SILENT_S)
    url = postgres_url()
    sleeper, other = PostgresVault(url), PostgresVault(url)
    sleeper.create()

    def both() -> None:
        with sleeper.transaction():
            sleeper.lock_minting()
            with other.transaction():
                other.lock_minting()

    with pytest.raises(Busy):
        both()
    with sleeper.transaction():
        sleeper.lock_minting()
    sleeper.close()
    other.close()
