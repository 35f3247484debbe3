"""A script that sends one POST with httpx and prints its answer, with one JSON argument: url, headers and body."""

from __future__ import annotations

import json
import sys

import httpx

if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    with httpx.Client(headers=request["headers"]) as client:
        answer = client.post(request["url"], json=request["body"])
    answer.raise_for_status()
    sys.stdout.write(f"{answer.json()}\n")
