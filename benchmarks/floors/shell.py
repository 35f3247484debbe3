"""A script that connects with psycopg, sends one statement and prints what it answers, with one JSON argument."""

from __future__ import annotations

import json
import sys

import psycopg

if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    with psycopg.connect(request["dsn"], autocommit=True) as connection:
        cursor = connection.execute(request["statement"], request["values"])
        sys.stdout.write(f"{cursor.fetchall()}\n")
