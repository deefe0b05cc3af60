"""Who is named in a statement, in which role and place, and how they are taken out and put back.

*Principals* are the people a statement is about: the actor; where the object is a person, that person too; where the
actor is a group, its members (an identified group without members is its own). Everybody else named (instructor, team,
contextAgents, contextGroups, authority, people in a sub-statement) has a *slot*: a number stands in the statement, the
person stands in a part of their own.

In a separated statement a number stands where an Agent stood; a Group stays an object, and the number of its own
identity stands in its member `slot`. A checked statement has neither, so nothing is ambiguous.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

IDENTIFIER_KEYS = ("account", "mbox", "mbox_sha1sum", "openid")
ERASED_HOME_PAGE = "urn:griffel:erased"
CREDENTIALS_HOME_PAGE = "urn:griffel:credentials"
"""Home page of the accounts that credentials have as authority, where they are given no other."""

Json = dict[str, Any]


def identifier_of(agent: Json) -> str | None:
    """Give an agent's inverse functional identifier as one canonical text, None for an anonymous group.

    The text begins with its kind, so an openid can never equal a mailbox. xAPI Data 2.4.2.3.
    """
    if "account" in agent:
        account = agent["account"]
        return f"account\0{account['homePage']}\0{account['name']}"
    if "mbox" in agent:
        local, at, domain = agent["mbox"].rpartition("@")
        return f"mbox\0{local}{at}{domain.lower()}"
    if "mbox_sha1sum" in agent:
        return f"mbox_sha1sum\0{agent['mbox_sha1sum'].lower()}"
    if "openid" in agent:
        return f"openid\0{agent['openid']}"
    return None


def identity_from(identifier: str) -> Json:
    """Give the identifier back as the member of an agent that holds it."""
    kind, _, value = identifier.partition("\0")
    if kind == "account":
        home_page, _, name = value.partition("\0")
        return {"account": {"homePage": home_page, "name": name}}
    return {kind: value}


def sha1sum_identifier(identifier: str) -> str | None:
    """Give the mbox_sha1sum form of a mailbox identifier; None for every other kind."""
    kind, _, value = identifier.partition("\0")
    if kind != "mbox":
        return None
    digest = hashlib.sha1(value.encode(), usedforsecurity=False).hexdigest()
    return f"mbox_sha1sum\0{digest}"


@dataclass(slots=True)
class Naming:
    """One place in which somebody is named.

    holder[key] is the agent (or group) object; role says what they are there, e.g. `actor`, `instructor`,
    `object.actor` in a sub-statement. is_person is False for an authority that is a credential and nobody: it is found
    like everyone else, but there is nobody whose key it would need, so it stays where it is.
    """

    holder: Any
    key: Any
    role: str
    agent: Json
    identifier: str
    is_person: bool = True


@dataclass(slots=True)
class Named:
    """Everybody a statement names: each place, and which identifiers are principals."""

    namings: list[Naming] = field(default_factory=list)
    principals: list[str] = field(default_factory=list)

    def identifiers(self) -> list[str]:
        """Give each identifier once, principals first, then in order of appearance."""
        return list(dict.fromkeys([*self.principals, *[naming.identifier for naming in self.namings]]))


def people_of(statement: Json) -> Named:
    """Find everybody named in a checked statement (authority included)."""
    named = Named()
    _principals(named, statement)
    namings = named.namings
    context = statement.get("context")
    if context is not None:
        _context_people(namings, context, "")
    target = statement["object"]
    if target.get("objectType") == "SubStatement":
        _add(namings, target, "actor", "object.actor")
        inner = target["object"]
        if inner.get("objectType") in ("Agent", "Group"):
            _add(namings, target, "object", "object.object")
        if (inner_context := target.get("context")) is not None:
            _context_people(namings, inner_context, "object.")
    if "authority" in statement:
        _add(namings, statement, "authority", "authority")
        if statement["authority"].get("account", {}).get("homePage") == CREDENTIALS_HOME_PAGE:
            namings[-1].is_person = False
    return named


def _principals(named: Named, statement: Json) -> None:
    namings = named.namings
    actor = statement["actor"]
    _add(namings, statement, "actor", "actor")
    if members := actor.get("member"):
        about = [identifier_of(member) for member in members]
    else:
        about = [identifier_of(actor)]
    target = statement["object"]
    if target.get("objectType") in ("Agent", "Group"):
        _add(namings, statement, "object", "object")
        about += [identifier_of(one) for one in target.get("member") or [target]]
    named.principals = list(dict.fromkeys(one for one in about if one is not None))


def _context_people(namings: list[Naming], context: Json, prefix: str) -> None:
    if "instructor" in context:
        _add(namings, context, "instructor", prefix + "instructor")
    if "team" in context:
        _add(namings, context, "team", prefix + "team")
    for entry in context.get("contextAgents", ()):
        _add(namings, entry, "agent", prefix + "contextAgents")
    for entry in context.get("contextGroups", ()):
        _add(namings, entry, "group", prefix + "contextGroups")


def _add(namings: list[Naming], holder: Any, key: Any, role: str) -> None:
    agent = holder[key]
    identifier = identifier_of(agent)
    if identifier is not None:
        namings.append(Naming(holder, key, role, agent, identifier))
    members = agent.get("member")
    if members:
        for index, member in enumerate(members):
            found = identifier_of(member)
            if found is not None:
                namings.append(Naming(members, index, role + ".member", member, found))


def take_out(naming: Naming, slot: int) -> Json:
    """Put the slot's number where the person stood; give what the person's own part keeps of them.

    Changes the holder in place: callers separate a copy whose containers are their own.
    """
    agent = naming.agent
    if agent.get("objectType") != "Group":
        naming.holder[naming.key] = slot
        return agent
    kept = {key: value for key, value in agent.items() if key != "member"}
    stays: Json = {"objectType": "Group", "slot": slot}
    if "member" in agent:
        stays["member"] = agent["member"]
    naming.holder[naming.key] = stays
    return kept


def put_back(statement: Json, people: dict[int, Json], placeholder: Any) -> None:
    """Undo every `take_out` in place.

    people maps slots to what was kept; placeholder(slot) gives the identity of someone who is erased, as the members
    of an agent.
    """

    def restore(holder: Any, key: Any) -> None:
        value = holder[key]
        if type(value) is int:
            kept = people.get(value)
            holder[key] = kept if kept is not None else {"objectType": "Agent", **placeholder(value)}
            return
        members = value.get("member")
        if members:
            for index, member in enumerate(members):
                if type(member) is int:
                    restore(members, index)
        slot = value.pop("slot", None)
        if slot is not None:
            kept = people.get(slot)
            value.update(kept if kept is not None else placeholder(slot))

    restore(statement, "actor")
    if "authority" in statement:
        restore(statement, "authority")
    target = statement["object"]
    if type(target) is int or target.get("objectType") == "Group":
        restore(statement, "object")
    elif target.get("objectType") == "SubStatement":
        restore(target, "actor")
        inner = target["object"]
        if type(inner) is int or inner.get("objectType") == "Group":
            restore(target, "object")
        _restore_context(target.get("context"), restore)
    _restore_context(statement.get("context"), restore)


def _restore_context(context: Json | None, restore: Any) -> None:
    if context is None:
        return
    if "instructor" in context:
        restore(context, "instructor")
    if "team" in context:
        restore(context, "team")
    for entry in context.get("contextAgents", ()):
        restore(entry, "agent")
    for entry in context.get("contextGroups", ()):
        restore(entry, "group")
