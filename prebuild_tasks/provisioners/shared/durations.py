"""The reader of durations such as `5m`, for the configs of provisioners."""

from __future__ import annotations

from prebuild_tasks.model.durations import parse_duration

__all__ = ["parse_duration"]
