"""The document resources: state, agent profile, activity profile (xAPI Communication 2.2, 2.3, 2.6, 2.7)."""

from __future__ import annotations

import re
from dataclasses import replace

import orjson
from aiohttp import web

from lrs.documents import Document, Place, Precondition
from lrs.errors import NotFound
from lrs.http.app import Services
from lrs.http.call import Call, refuse_other_charset
from lrs.http.statements import http_date, read_agent, read_timestamp
from lrs.reading import microseconds
from lrs.scopes import Scope
from schemas.errors import InvalidInput
from schemas.iri import check_iri
from schemas.json_input import parse_json
from schemas.people import Json, identifier_of
from schemas.person_states import PersonState
from schemas.statement import check_uuid

ID_CHARACTERS_MAX = 4_000
_MEDIA_TYPE = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}")
DEFAULT_TYPE = "application/octet-stream"


class DocumentResource:
    """Handlers of one kind of document. id_name is its id's parameter: stateId or profileId."""

    def __init__(self, services: Services, kind: str, id_name: str, scope: Scope) -> None:
        self._services = services
        self._kind = kind
        self._id_name = id_name
        self._scope = scope
        self._of_activity = kind in ("state", "activities/profile")
        self._of_agent = kind in ("state", "agents/profile")
        known = [id_name]
        known += ["activityId"] if self._of_activity else []
        known += ["agent"] if self._of_agent else []
        known += ["registration"] if kind == "state" else []
        self._known = tuple(known)

    async def get(self, call: Call) -> web.Response:
        """Give a document, or the ids of all there are."""
        call.caller.must(self._scope, reading=True)
        place = self._place(call, "since")
        hidden = await self._is_hidden(call, place)
        if place.id is None:
            since_us = microseconds(read_timestamp(call, "since")) if "since" in call.params else 0
            found = [] if hidden else await self._services.documents.listed(place, since_us)
            response = web.Response(body=orjson.dumps([one.id for one in found]), content_type="application/json")
            if found:
                response.headers["Last-Modified"] = http_date(found[-1].updated_us)
            return response
        if "since" in call.params:
            raise InvalidInput(f"`since` is for lists: leave it or `{self._id_name}` out", "")
        document = None if hidden else await self._services.documents.get(place)
        if document is None:
            raise NotFound("there is no such document")
        return _answer(document, _precondition(call))

    async def put(self, call: Call) -> web.Response:
        """Replace or create a document."""
        call.caller.must(self._scope)
        place = self._one(call)
        content, media_type, _ = await self._content(call)
        precondition = _precondition(call)
        # 2.0 wants a precondition for every document that exists; 1.0.3 for profiles, and there also for new ones
        # (Communication 3.1, and what ADL's suite makes of it).
        conditional = call.version == "2.0.0" or self._kind != "state"
        await self._services.documents.put(
            place,
            content,
            media_type,
            precondition,
            must_be_conditional=conditional,
            new_ones_too=call.version == "1.0.3" and conditional,
        )
        return web.Response(status=204)

    async def post(self, call: Call) -> web.Response:
        """Merge a JSON object into a document, or create one."""
        call.caller.must(self._scope)
        place = self._one(call)
        content, media_type, sent = await self._content(call)
        await self._services.documents.merge(place, content, media_type, sent, _precondition(call))
        return web.Response(status=204)

    async def delete(self, call: Call) -> web.Response:
        """Delete a document; of state, also all there are for an activity and a learner."""
        call.caller.must(self._scope)
        place = self._place(call)
        if place.id is not None:
            await self._services.documents.delete(place, _precondition(call))
        elif self._kind == "state":
            await self._services.documents.delete_all(place)
        else:
            call.required(self._id_name)
        return web.Response(status=204)

    async def _is_hidden(self, call: Call, place: Place) -> bool:
        """Say whether a caller sees nothing of whom a document is about (lrs/hiding.py).

        While a learner is restricted, whoever may write their documents still reads them: that is the content with
        which the learner goes on, and which would begin anew, over what is there, if it were told that nothing is.
        """
        identifier = identifier_of(place.agent) if place.agent is not None else None
        person = await self._services.vault.find_pseudonym(identifier) if identifier is not None else None
        if person is None or not await self._services.reader.hides(person, call.caller):
            return False
        states = {state for _, _, state in await self._services.log.person_states([person])}
        return not (states == {PersonState.RESTRICTED} and call.caller.may(self._scope))

    def _one(self, call: Call) -> Place:
        call.required(self._id_name)
        return self._place(call)

    def _place(self, call: Call, *further: str) -> Place:
        call.only(*self._known, *further)
        place = Place(self._kind, id=call.params.get(self._id_name))
        if place.id is not None and not 0 < len(place.id) <= ID_CHARACTERS_MAX:
            raise InvalidInput(f"the parameter `{self._id_name}` must have 1 to {ID_CHARACTERS_MAX} characters", "")
        if self._of_activity:
            place = replace(place, activity=read_iri(call, "activityId"))
        if self._of_agent:
            place = replace(place, agent=read_agent(call))
        if "registration" in call.params:
            try:
                check_uuid(call.params["registration"])
            except InvalidInput as error:
                raise InvalidInput("the parameter `registration` is not a UUID", "") from error
            place = replace(place, registration=call.params["registration"])
        return place

    async def _content(self, call: Call) -> tuple[bytes, str, Json | None]:
        """Give the body, its media type, and the body parsed where it is a JSON object."""
        content = await call.body()
        media_type = call.headers.get("Content-Type", DEFAULT_TYPE)
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise InvalidInput("the Content-Type is not a media type", "")
        if call.media_type != "application/json":
            return content, media_type, None
        refuse_other_charset(call.headers)
        parsed = parse_json(content)
        if not isinstance(parsed, dict):
            if call.method == "POST":
                raise InvalidInput("POST merges JSON objects; the body is none", "")
            return content, media_type, None
        return content, media_type, parsed


def read_iri(call: Call, name: str) -> str:
    """Read a parameter that holds an IRI and must be there."""
    value = call.required(name)
    try:
        check_iri(value)
    except InvalidInput as error:
        raise InvalidInput(f"the parameter `{name}` is not an IRI", "") from error
    return value


def _answer(document: Document, precondition: Precondition) -> web.Response:
    headers = {"ETag": f'"{document.etag}"', "Last-Modified": http_date(document.updated_us)}
    if precondition.none_match is not None and {"*", document.etag} & precondition.none_match:
        return web.Response(status=304, headers=headers)
    # What a client stored is never shown by a browser as a page of ours.
    headers |= {"Content-Disposition": "attachment", "Content-Security-Policy": "sandbox; default-src 'none'"}
    return web.Response(body=document.content, headers={**headers, "Content-Type": document.media_type})


def _precondition(call: Call) -> Precondition:
    return Precondition(_etags(call, "If-Match"), _etags(call, "If-None-Match"))


def _etags(call: Call, name: str) -> frozenset[str] | None:
    value = call.headers.get(name)
    if value is None:
        return None
    return frozenset([one.strip().removeprefix("W/").strip('"') for one in value.split(",")])
