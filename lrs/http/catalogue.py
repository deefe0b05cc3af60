"""The small resources: about, activities, agents, extensions (xAPI Communication 2.4, 2.5, 2.8)."""

from __future__ import annotations

import orjson
from aiohttp import web

from lrs.errors import NotFound
from lrs.http.app import Services
from lrs.http.call import Call
from lrs.http.documents import read_iri
from lrs.http.statements import read_agent
from lrs.scopes import Scope
from schemas.people import Json, identifier_of, identity_from

VERSIONS = ("2.0.0", "1.0.3", "1.0.2", "1.0.1", "1.0.0")


class CatalogueResource:
    """Handlers of the small resources."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def about(self, call: Call) -> web.Response:
        """Say which versions are spoken."""
        call.only()
        return _json({"version": list(VERSIONS)})

    async def activities(self, call: Call) -> web.Response:
        """Give an activity with its merged definition; one nobody has defined is given as it was asked."""
        call.caller.must(Scope.STATEMENTS_READ, Scope.STATEMENTS_READ_MINE, Scope.STATE, Scope.PROFILE, reading=True)
        call.only("activityId")
        activity_id = read_iri(call, "activityId")
        definition = (await self._services.catalogue.definitions([activity_id]))[activity_id]
        activity: Json = {"objectType": "Activity", "id": activity_id}
        if definition is not None:
            activity["definition"] = definition
        return _json(activity)

    async def agents(self, call: Call) -> web.Response:
        """Give a person object: every identifier that leads to the same learner, and the name asked with."""
        call.caller.must(Scope.STATEMENTS_READ, Scope.PROFILE, reading=True)
        call.only("agent")
        agent = read_agent(call)
        identifier = identifier_of(agent)
        assert identifier is not None
        identifiers = [identifier]
        owner = await self._services.vault.find_pseudonym(identifier)
        if owner is not None and await self._services.reader.hides(owner, call.caller):
            owner = None
        if owner is not None:
            identifiers += [one for one in await self._services.vault.identifiers_of(owner) if one != identifier]
        person: Json = {"objectType": "Person"}
        names = [agent["name"]] if "name" in agent else []
        if owner is not None:
            names += [one for one in await self._services.reader.names_of(owner, call.caller) if one not in names]
        if names:
            person["name"] = names
        for one in identifiers:
            for key, value in identity_from(one).items():
                person.setdefault(key, []).append(value)
        return _json(person)

    async def extensions(self, call: Call) -> web.Response:
        """Say that there is nothing under the extensions path."""
        raise NotFound("this store has no extension resources; what it has is listed at /xapi/about")


def _json(content: object) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")
