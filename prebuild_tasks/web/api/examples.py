"""The examples of the OpenAPI document: one body of each kind."""

from __future__ import annotations

from prebuild_tasks.model.json_values import JsonObject, JsonValue

_AT, _LATER, _END = "2026-03-02T09:00:00+00:00", "2026-03-02T09:00:42+00:00", "2026-03-16T09:05:00+00:00"
_WORKSPACE_ID, BUILD_ID = "4f0c2f0e-7c0f-4a51-9d0e-0c1df5a7f0aa", "b2a4c7de-19a8-4a0c-8a53-2f3e5a0a9c11"
CLAIM_ID = "0b6f7b0c-7a53-4c83-9f5a-5d9a3f7f2a10"
KEY = "portal-7f3a"
_DELIVERY_ID = "7d0e9a4e-58f0-4d43-a4c5-1a3a2f0f6f11"
NAMES = {
    "template": "python-dev", "preset": "small", "owner": "ada", "name": "brave-otter", "webhook": "ci",
    "delivery": _DELIVERY_ID,
}  # fmt: skip
"""Parts of paths."""

WORKSPACE: JsonObject = {
    "workspace": "brave-otter",
    "id": _WORKSPACE_ID,
    "owner": "ada",
    "preset": "python-dev/small",
    "state": "usable",
    "url": "http://127.0.0.1:40123",
    "directory": "/var/lib/prebuild/workspaces/4f0c2f0e",
    "resource_id": "4f0c2f0e",
    "host": "build-1",
    "created_at": _AT,
    "claimed_at": "2026-03-02T09:05:00+00:00",
    "claimed_until": _END,
    "ends_soon": False,
    "reason": "claim",
    "retry_at": None,
}
ENDING: JsonObject = {"workspace": "ada/brave-otter", "id": _WORKSPACE_ID, "state": "deleting"}
EXTEND_BODY: JsonObject = {"duration": "3d"}
EXTENDED: JsonObject = {"workspace": "ada/brave-otter", "claimed_until": _END}
EVENT: JsonObject = {
    "at": "2026-03-02T09:05:00+00:00",
    "actor": "token:portal",
    "event": "claimed",
    "workspace": "brave-otter",
    "preset": "python-dev/small",
    "reason": "claim",
    "details": None,
    "actor_kind": "token",
    "actor_name": "portal",
    "actor_subject": "ada",
}
POOL: JsonObject = {
    "preset": "python-dev/small",
    "desired": 3,
    "eligible": 2,
    "starting": 1,
    "deleting": 0,
    "failed": 0,
    "failed_deletions": 0,
    "reason": "starting",
    "next_action": "wait for 1",
    "last_error": "",
    "second_choices": 0,
    "claimed": 4,
    "next_change": {"at": "2026-03-02T18:00:00+00:00", "desired": 1},
}
EXPLAINED: JsonObject = {
    "preset": "python-dev/small",
    "at": _AT,
    "desired": 3,
    "eligible": 2,
    "starting": 1,
    "missing": 0,
    "next_turn": {"delete": 0, "cancel": 0, "create": 0},
    "reason": "starting",
    "headline": "starting; build 0c6f8a12 has been running for 20 s",
    "chain": [{"about": "builds", "reason": "starting", "words": "1 start under way"}],
    "remedies": [
        {
            "kind": "list_builds",
            "subject": "python-dev/small",
            "version": "",
            "sentence": "look at the builds of python-dev/small",
            "call": {"method": "GET", "href": "/v1/builds?preset=python-dev%2Fsmall"},
            "why": "what the starts are doing",
        }
    ],
}
_FIGURES: JsonObject = {"claims": 120, "hits": 117, "misses": 3, "hit_rate": 0.975, "idle_hours": 310.5}
REPORT: JsonObject = {
    "since": "2026-02-23T09:00:00+00:00",
    "until": _AT,
    "data_since": {"claims": "2026-02-23T09:00:00+00:00", "builds": "2026-02-23T09:00:00+00:00"},
    "notes": [],
    "total": _FIGURES,
    "presets": [{"preset": "python-dev/small", "active": True, "timezone": "UTC", **_FIGURES, "recommendations": []}],
    "over_time": {"seconds": 3600, "claims": [{"at": _AT, "hits": 9, "misses": 0}], "time_to_ready_s": []},
}
PAUSE_BODY: JsonObject = {"reason": "moving to new hosts", "until": "2100-03-02T12:00:00+00:00"}
CHANGED: JsonObject = {"changed": True}
REPLACED: JsonObject = {
    "changed": True,
    "affected": {"replaced": 3, "starting": 1, "failed": 0, "claimed": 4, "superseded": 0},
}
REQUESTED: JsonObject = {"requested": "python-dev/small"}
BUILD: JsonObject = {
    "build": BUILD_ID,
    "workspace": "prebuild-brave-otter",
    "preset": "python-dev/small",
    "transition": "start",
    "status": "succeeded",
    "reason": "deficit",
    "initiator": "reconciler",
    "attempt": 1,
    "created_at": _AT,
    "started_at": _AT,
    "completed_at": _LATER,
    "waits": "",
    "seconds": 42.0,
    "error_code": "",
    "error": "",
}
LOGGED_EVENT: JsonObject = {
    "id": 1042,
    "at": "2026-03-02T09:05:00.120000+00:00",
    "kind": "claim",
    "pool": "python-dev/small",
    "owner": "ada",
    "workspace": "brave-otter",
    "actor": "token:portal",
    "reason": "claim",
    "data": {},
}
EVENT_STREAM = 'id: 1042\nevent: claim\ndata: {"id":1042,"kind":"claim","pool":"python-dev/small"}\n\n'
LOG = "Cloning into 'src'...\nready\n"
SETTINGS: JsonObject = {
    "items": [{"variable": "PREBUILD_RECONCILE_INTERVAL", "value": "15.0", "source": "default"}],
    "next": None,
}
WEBHOOK_BODY: JsonObject = {"url": "https://ci.example.com/prebuilds", "name": "ci", "kinds": ["claim", "miss"]}
WEBHOOK: JsonObject = {
    "id": "3f8a6f0e-2a34-4f4e-9d9a-6a1f1f0c7b21",
    "name": "ci",
    "url": "https://ci.example.com/prebuilds",
    "kinds": ["claim", "miss"],
    "presets": [],
    "organization": "",
    "secret_version": 1,
    "former_until": None,
    "cursor": 1207,
    "disabled_at": None,
    "disabled_reason": "",
    "created_at": _AT,
    "created_by": "token:root",
}
NEW_WEBHOOK: JsonObject = {"secret": "whsec_c2hvd24gb25seSBvbmNlLCBhbmQgc3RvcmVkIG5vd2hlcmU=", **WEBHOOK, "unknown": []}
ROTATE_BODY: JsonObject = {"overlap": "1d"}
DELIVERY: JsonObject = {
    "id": _DELIVERY_ID,
    "webhook": "ci",
    "event": 1208,
    "kind": "claim",
    "status": "pending",
    "attempt": 2,
    "next_attempt_at": _LATER,
    "last_status": 503,
    "error": "the receiver answered 503",
    "created_at": _AT,
    "ended_at": None,
}
DOCUMENT: JsonObject = {"openapi": "3.1.0", "info": {"title": "prebuild", "version": "0.2"}, "paths": {}}
CLAIM_BODY: JsonObject = {"presets": ["python-dev/small"], "owner": "ada", "wait": 30}
CLAIMED: JsonObject = {
    "id": CLAIM_ID,
    "workspace": "brave-otter",
    "workspace_id": _WORKSPACE_ID,
    "preset": "python-dev/small",
    "owner": "ada",
    "url": "http://127.0.0.1:40123",
    "directory": "/var/lib/prebuild/workspaces/4f0c2f0e",
    "resource_id": "4f0c2f0e",
    "host": "build-1",
    "request_id": KEY,
    "claimed_at": "2026-03-02T09:05:00+00:00",
    "claimed_until": _END,
    "state": "personalising",
}
BEING_BUILT: JsonObject = {
    "id": CLAIM_ID,
    "workspace": "brave-otter",
    "workspace_id": _WORKSPACE_ID,
    "preset": "python-dev/small",
    "owner": "ada",
    "request_id": KEY,
    "state": "being_built",
}
PROBLEM: JsonObject = {
    "type": "/docs#miss/starting",
    "title": "No workspace is ready",
    "status": 429,
    "detail": "no prebuild of python-dev/small is ready: all are taken, and more are starting",
    "code": "starting",
    "hint": "try again soon, or have one built",
    "remedy": {
        "kind": "wait_for_workspace",
        "subject": "",
        "version": "",
        "sentence": "have one built and wait for it",
        "call": {"method": "POST", "href": "/v1/claims", "body": {"wait": 55}},
    },
    "request_id": "6f1c0c8e",
    "reason": "starting",
    "retryable": True,
    "next_change": None,
}


def page_of(row: JsonValue) -> JsonObject:
    """Return a page with one row."""
    return {"items": [row], "next": None}
