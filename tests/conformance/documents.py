"""The three document resources, described so that one test can be run over each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from .builders import agent, iri, new_id
from .client import requirement

if TYPE_CHECKING:
    import requests

    from .client import Api, Json


@dataclass(frozen=True)
class Resource:
    """A document resource: its path, the parameter that names a document, and those that say whose it is."""

    path: str
    name: str
    scope: tuple[str, ...]

    def new(self) -> Json:
        """The parameters of a document that is not there yet."""
        made: Json = {"activityId": iri(), "agent": agent()}
        return {name: made[name] for name in self.scope} | {self.name: new_id()}

    def whole(self, params: Json) -> Json:
        """The parameters of all documents of the same scope."""
        return {name: value for name, value in params.items() if name != self.name}


STATE = Resource("activities/state", "stateId", ("activityId", "agent"))
AGENT_PROFILE = Resource("agents/profile", "profileId", ("agent",))
ACTIVITY_PROFILE = Resource("activities/profile", "profileId", ("activityId",))
RESOURCES = {"state": STATE, "agent": AGENT_PROFILE, "activity": ACTIVITY_PROFILE}


def each(*shared: str, **numbers: str) -> pytest.MarkDecorator:
    """Run a test for the named resources, each proving its own numbers (blank-separated) and the shared ones."""
    return pytest.mark.parametrize(
        "resource",
        [
            pytest.param(RESOURCES[name], id=name, marks=requirement(*own.split(), *shared))
            for name, own in numbers.items()
        ],
    )


class Document:
    """One document of a resource, which need not exist."""

    def __init__(self, api: Api, resource: Resource, **more: Any) -> None:
        self.api = api
        self.resource = resource
        self.params = resource.new() | more

    @property
    def name(self) -> str:
        return self.params[self.resource.name]

    def call(self, method: str, **options: Any) -> requests.Response:
        return self.api.call(method, self.resource.path, self.params, **options)

    def write(self, method: str, content: Any, **headers: str) -> requests.Response:
        """Send JSON, or bytes as octets unless the headers say otherwise."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(content, bytes):
            return self.call(method, data=content, headers={"Content-Type": "application/octet-stream"} | sent)
        return self.call(method, json=content, headers=sent)

    def make(self, method: str, content: Any, **headers: str) -> requests.Response:
        """Write a document that is not there yet: in 1.0.3 a profile is only put with a precondition."""
        if method == "PUT" and self.api.version == "1.0.3" and self.resource is not STATE:
            headers["If_None_Match"] = "*"
        return self.write(method, content, **headers)

    def get(self) -> requests.Response:
        return self.call("GET")

    def names(self, **more: Any) -> list[str]:
        """The names of all documents of the same scope."""
        response = self.api.call("GET", self.resource.path, self.resource.whole(self.params) | more)
        assert response.status_code == 200
        return response.json()
