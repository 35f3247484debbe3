"""The tables. Import this module as a whole, so that every foreign key finds its table."""

from __future__ import annotations

from prebuild_tasks.schema.access_tables import LoginCode, PageSession, Token
from prebuild_tasks.schema.declared_tables import (
    Installation,
    Organization,
    Preset,
    PresetParameter,
    PresetSchedule,
    Setting,
    Template,
    TemplateVersion,
)
from prebuild_tasks.schema.record_tables import (
    BoundRequest,
    ClaimEvent,
    History,
    LostTurn,
    Total,
    Worker,
)
from prebuild_tasks.schema.webhook_tables import Webhook, WebhookDelivery
from prebuild_tasks.schema.workspace_tables import (
    CLAIMABLE,
    LIVE_PREBUILD,
    OPEN_BUILD,
    Build,
    BuildLog,
    ProbeState,
    Stray,
    UnansweredList,
    Workspace,
)

__all__ = [
    "CLAIMABLE",
    "LIVE_PREBUILD",
    "OPEN_BUILD",
    "BoundRequest",
    "Build",
    "BuildLog",
    "ClaimEvent",
    "History",
    "Installation",
    "LoginCode",
    "LostTurn",
    "Organization",
    "PageSession",
    "Preset",
    "PresetParameter",
    "PresetSchedule",
    "ProbeState",
    "Setting",
    "Stray",
    "Template",
    "TemplateVersion",
    "Token",
    "Total",
    "UnansweredList",
    "Webhook",
    "WebhookDelivery",
    "Worker",
    "Workspace",
]
