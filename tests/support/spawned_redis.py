"""The embedded Redis without `prebuild up` as its supervisor."""

from __future__ import annotations

import subprocess

from prebuild_tasks.cli.up.redis_server import RedisServer

_STOP_GRACE = 5.0


class SpawnedRedis(RedisServer):
    """A Redis that a test starts and ends itself."""

    process: subprocess.Popen[bytes] | None = None

    def spawn(self, *options: str) -> subprocess.Popen[bytes]:
        """Start it in its own session, so that Ctrl-C does not reach it; `wait_ready` waits for its answer.

        `options` are further ones of its command line.
        """
        arguments = [*self.arguments(), *options]
        with (self.directory / "redis.log").open("ab") as log:  # its output until it opens its own log
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self.process

    def stop(self) -> None:
        """End the process that `spawn` started, and clean up."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(_STOP_GRACE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        self.clean_up()
