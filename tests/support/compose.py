"""Inputs for the tests of docker-compose.yml: a pools file, and a .env that has only passwords."""

from __future__ import annotations

POOLS = """
schema: 1
templates:
  - name: dev
    config: {start: "true", serve: "exec python3 -m http.server --bind $PREBUILD_WORKSPACE_BIND $PORT"}
    presets: [{name: small, desired: 1}]
"""
DOTENV = {"POSTGRES_PASSWORD": "pg", "REDIS_PASSWORD": "rd", "FLOWER_BASIC_AUTH": "operator:fl"}
