"""Addresses of what the API answers about, and the calls that carry out a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode
from uuid import uuid4

from prebuild_tasks.model.json_values import JsonObject, JsonValue
from prebuild_tasks.model.names import PresetRef, WorkspaceName, as_id
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.remedies import Remedy, RemedyKind

CLAIMS, WORKSPACES, POOLS, BUILDS, CONFIG = "/v1/claims", "/v1/workspaces", "/v1/pools", "/v1/builds", "/v1/config"
WEBHOOKS = "/v1/webhooks"
EVENTS = "/v1/events"


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request that carries out a remedy."""

    method: str
    path: str
    body: JsonObject | None = None
    """None: it has none."""
    headers: Mapping[str, str] | None = None

    def to_json(self, base: str) -> JsonObject:
        """Return the call as JSON. `base` begins its address."""
        call: dict[str, JsonValue] = {"method": self.method, "href": base + self.path}
        if self.headers:
            call["headers"] = dict(self.headers)
        if self.body is not None:
            call["body"] = self.body
        return call


def workspace_path(owner: str, name: str) -> str:
    """Return the path of a workspace."""
    return f"{WORKSPACES}/{quote(owner, safe='')}/{quote(name, safe='')}"


def pool_path(ref: PresetRef) -> str:
    """Return the path of a pool, or of the preset of one version."""
    return f"{POOLS}/{quote(str(ref), safe='/@')}"


def claim_path(claim_id: str) -> str:
    """Return the path of a claim."""
    return f"{CLAIMS}/{claim_id}"


def log_path(build_id: str) -> str:
    """Return the path of a build's log."""
    return f"{BUILDS}/{quote(build_id, safe='')}/log"


def webhook_path(name: str) -> str:
    """Return the path of a webhook."""
    return f"{WEBHOOKS}/{quote(name, safe='')}"


_PLAIN: Mapping[RemedyKind, ApiCall] = {
    RemedyKind.SHOW_SETTINGS: ApiCall("GET", CONFIG),
    RemedyKind.LIST_POOLS: ApiCall("GET", POOLS),
    RemedyKind.LIST_PROBLEMS: ApiCall("GET", POOLS),
    RemedyKind.LIST_WORKSPACES: ApiCall("GET", WORKSPACES),
    RemedyKind.LIST_WEBHOOKS: ApiCall("GET", WEBHOOKS),
    RemedyKind.LIST_RUNNING_BUILDS: ApiCall("GET", f"{BUILDS}?status=running"),
    RemedyKind.LIST_FAILED_BUILDS: ApiCall("GET", f"{BUILDS}?status=failed"),
}
"""Calls that need no subject."""
_LONGEST_WAIT = 55
"""Seconds."""


def call_of(remedy: Remedy, asked: JsonObject | None = None) -> ApiCall | None:
    """Return the call that carries out the remedy; None: the API has none, or the subject is not known.

    `asked` is the body of the request that is to be made again.
    """
    if call := _of_claim(remedy, asked or {}):
        return call
    match remedy.kind:
        case RemedyKind.LIST_BUILDS:
            return ApiCall("GET", f"{BUILDS}?{urlencode({'preset': remedy.subject})}" if remedy.subject else BUILDS)
        case RemedyKind.EXPLAIN_POOL | RemedyKind.RECONCILE | RemedyKind.RESUME | RemedyKind.UNBLOCK_POOL:
            return _of_pool(remedy)
        case RemedyKind.RELEASE_WORKSPACE | RemedyKind.DELETE_WORKSPACE | RemedyKind.SHOW_HISTORY:
            return _of_workspace(remedy)
        case RemedyKind.ENABLE_WEBHOOK if remedy.subject:
            return ApiCall("POST", f"{webhook_path(remedy.subject)}/enable")
        case RemedyKind.LIST_DELIVERIES if remedy.subject:
            return ApiCall("GET", f"{webhook_path(remedy.subject)}/deliveries")
        case RemedyKind.NEW_REQUEST if call := _of_workspace(remedy):
            return replace(call, body=asked or None, headers={"Idempotency-Key": str(uuid4())})
        case RemedyKind.SHOW_LOG | RemedyKind.FOLLOW_LOG if remedy.subject and "/" not in remedy.subject:
            follow = "?follow=true" if remedy.kind is RemedyKind.FOLLOW_LOG else ""
            return ApiCall("GET", log_path(remedy.subject) + follow)
    return _PLAIN.get(remedy.kind)


def _of_claim(remedy: Remedy, asked: JsonObject) -> ApiCall | None:
    """Return the call for a remedy that is a claim; a body that is not known is left out."""
    match remedy.kind:
        case RemedyKind.WAIT_FOR_WORKSPACE:
            return ApiCall("POST", CLAIMS, {**asked, "wait": _LONGEST_WAIT})
        case RemedyKind.CHOOSE_OTHER_NAME:
            return ApiCall("POST", CLAIMS, {name: value for name, value in asked.items() if name != "name"} or None)
        case RemedyKind.CLAIM_WORKSPACE if remedy.subject:
            return ApiCall("POST", CLAIMS, {**asked, "presets": [remedy.subject]})
        case RemedyKind.REPEAT_REQUEST if remedy.subject:
            return ApiCall("POST", CLAIMS, asked or None, {"Idempotency-Key": remedy.subject})
        case RemedyKind.NEW_REQUEST if remedy.subject:
            return None  # the request was about a workspace
        case RemedyKind.CLAIM_WORKSPACE | RemedyKind.NEW_REQUEST | RemedyKind.NAME_OWNER | RemedyKind.NAME_PRESET:
            return ApiCall("POST", CLAIMS, asked or None)
    return None


def _of_pool(remedy: Remedy) -> ApiCall | None:
    path = pool_path(PresetRef.parse(remedy.subject)) if "/" in remedy.subject else POOLS
    match remedy.kind:
        case RemedyKind.EXPLAIN_POOL:
            return ApiCall("GET", f"{path}/explain" if remedy.subject else path)
        case RemedyKind.UNBLOCK_POOL:
            return ApiCall("POST", f"{path}/unblock") if remedy.subject else None
    return ApiCall("POST", f"{path}/{remedy.kind.value}")


def _of_workspace(remedy: Remedy) -> ApiCall | None:
    if not remedy.subject or as_id(remedy.subject):
        return None
    named = WorkspaceName.parse(remedy.subject)
    path = workspace_path(named.owner or PREBUILDS_OWNER, named.name)
    match remedy.kind:
        case RemedyKind.RELEASE_WORKSPACE:
            return ApiCall("POST", f"{path}/release")
        case RemedyKind.DELETE_WORKSPACE:
            return ApiCall("DELETE", path)
        case RemedyKind.NEW_REQUEST:
            return ApiCall("POST", f"{path}/extend")
    return ApiCall("GET", f"{path}/history")
