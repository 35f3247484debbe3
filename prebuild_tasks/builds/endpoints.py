"""Conditions in SQL on what builds ask."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, or_, select

from prebuild_tasks.builds.types import Endpoint
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import VERSION_OF_PRESET


def is_shared_start_sql(endpoints: Collection[Endpoint]) -> ColumnElement[bool]:
    """Build the condition that a build is a start that asks one of these endpoints and that any machine may take.

    Not one that was tried and has a time for its next attempt: it is how the machines find out that there is an answer.
    """
    is_shared = and_(m.Build.transition == Transition.START, m.Build.queue == "", m.Build.next_attempt_at.is_(None))
    return and_(is_shared, asks_sql(endpoints))


def asks_sql(endpoints: Collection[Endpoint]) -> ColumnElement[bool]:
    """Build the condition that a build asks one of these endpoints."""
    engines = sorted(endpoint.provisioner for endpoint in endpoints if not endpoint.version_id)
    versions = sorted(endpoint.version_id for endpoint in endpoints if endpoint.version_id)
    presets = select(m.Preset.id).join(*VERSION_OF_PRESET)
    asks = or_(m.TemplateVersion.provisioner.in_(engines), m.TemplateVersion.id.in_(versions))
    return m.Build.preset_id.in_(presets.where(asks))
