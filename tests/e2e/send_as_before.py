"""Send every kind of message that v0.1.0 knows. Run by v0.1.0's own Python; imports nothing of the tests."""
# ruff: noqa: I001 - one of these modules exists only in v0.1.0, so ruff takes it for a third party's

from __future__ import annotations

import json
import sys
from itertools import cycle, islice

from prebuild_tasks.celery import app, settings
from prebuild_tasks.messages import BUILDS, DEFAULT, PROBE_PREBUILDS, RECONCILE_ALL, SWEEP, Messages

CLAIM = "prebuild_tasks.claim"


def main() -> None:
    """Read what to send from standard input; print the claim tasks' ids."""
    asked = json.load(sys.stdin)
    each, host = asked["each"], asked["host"]
    messages = Messages(settings)
    presets = list(islice(cycle(asked["presets"]), each))
    sent = messages.reconcile(presets) + messages.reconcile(presets, tick=1)
    for to, builds in asked["builds"].items():
        sent += messages.builds({to: builds})
    if sent != 2 * each + sum(map(len, asked["builds"].values())):
        sys.exit(f"only {sent} messages were sent")
    default, own = settings.queue(DEFAULT), settings.queue(BUILDS, host)
    kinds = [
        (default, RECONCILE_ALL, {}), (default, RECONCILE_ALL, {"force": True}),
        (default, SWEEP, {}), (default, SWEEP, {"resources": True}), (own, SWEEP, {"here": True, "shared": True}),
        (default, PROBE_PREBUILDS, {}), (own, PROBE_PREBUILDS, {"host": host}),
    ]  # fmt: skip
    claims = []
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(each):
            for queue, task, words in kinds:
                app.send_task(task, kwargs=words, queue=queue, producer=producer)
            asker = f"{asked['owner']}-{number}"
            words = {"owner": asker, "request_id": asker}
            claims.append(app.send_task(CLAIM, args=[[asked["claimed"]]], kwargs=words, producer=producer).id)
    print(json.dumps(claims))


if __name__ == "__main__":
    main()
