"""Where each xAPI resource is (xAPI Communication 2)."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from lrs.http.app import Handler, Resource, Services
from lrs.http.catalogue import CatalogueResource
from lrs.http.documents import DocumentResource
from lrs.http.protocol import expect
from lrs.http.statements import MORE_PATH, StatementResource
from lrs.scopes import Scope


def xapi_routes(services: Services) -> Iterable[web.RouteDef]:
    """Give the route of every xAPI resource."""

    def route(path: str, handlers: dict[str, Handler], *, open_to_all: bool = False, consistent: bool = False) -> None:
        resource = Resource(services, handlers, open_to_all=open_to_all, consistent=consistent)
        routes.append(web.route("*", path, resource.__call__, expect_handler=expect))

    routes: list[web.RouteDef] = []
    statements = StatementResource(services)
    route(
        "/xapi/statements",
        {"GET": statements.get, "PUT": statements.put, "POST": statements.post},
        consistent=True,
    )
    route(MORE_PATH + "{token}", {"GET": statements.more}, consistent=True)
    for kind, path, id_name, scope in (
        ("state", "/xapi/activities/state", "stateId", Scope.STATE),
        ("activities/profile", "/xapi/activities/profile", "profileId", Scope.PROFILE),
        ("agents/profile", "/xapi/agents/profile", "profileId", Scope.PROFILE),
    ):
        document = DocumentResource(services, kind, id_name, scope)
        handlers: dict[str, Handler] = {
            "GET": document.get,
            "PUT": document.put,
            "POST": document.post,
            "DELETE": document.delete,
        }
        route(path, handlers)
    catalogue = CatalogueResource(services)
    route("/xapi/about", {"GET": catalogue.about}, open_to_all=True)
    route("/xapi/activities", {"GET": catalogue.activities})
    route("/xapi/agents", {"GET": catalogue.agents})
    anything: dict[str, Handler] = dict.fromkeys(("GET", "PUT", "POST", "DELETE"), catalogue.extensions)
    route("/xapi/extensions{rest:.*}", anything)
    return routes
