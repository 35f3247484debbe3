"""Pull the image of a container."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import CannotBuildError, InterruptedStartError, ProvisionerError
from prebuild_tasks.provisioners.docker.config import DockerConfig
from prebuild_tasks.provisioners.docker.engine import EngineObject, Stream, connect, is_of_proxy, message_of, status_of
from prebuild_tasks.provisioners.port import BuildContext

if TYPE_CHECKING:
    from docker import APIClient

_POLL_INTERVAL = 0.2
_REPORT_INTERVAL = 5.0
_SILENCE_TIMEOUT = 900.0
"""Seconds without progress that end a pull. An engine reports nothing while it unpacks a large layer."""
_PERMANENT = re.compile(
    r"manifest unknown|name unknown|not found|does not exist|denied|invalid reference|short-name", re.IGNORECASE
)

_AWAY = re.compile(
    r"toomanyrequests|too many requests|rate limit|status(?: code)?:? (?:429|5\d\d)\b|\bEOF$|no such host|"
    r"connection refused|connection reset|i/o timeout|handshake timeout|deadline exceeded|Client\.Timeout|"
    r"temporary failure|network is unreachable|no route to host|server misbehaving|service unavailable|bad gateway|"
    r"gateway timeout",
    re.IGNORECASE,
)
"""Words of engines for a registry that throttles, or gives no answer of its own."""


def ensure(api: APIClient, config: DockerConfig, context: BuildContext) -> None:
    """Pull the image unless the engine has it. Raises CannotBuildError when there is no such image."""
    from docker.errors import NotFound

    if config.pull != "always":
        try:
            api.inspect_image(config.image)
            return
        except NotFound as error:
            if config.pull == "never":
                hint = "pull it on the engine's host, or remove pull: never from the config"
                raise CannotBuildError(
                    f"the engine does not have the image {config.image}: {message_of(error)}", hint=hint
                ) from error
    _pull(config.image, context)


def variables(api: APIClient, image: str) -> dict[str, str]:
    """Return the environment variables that an image sets."""
    pairs = (api.inspect_image(image).get("Config") or {}).get("Env") or []
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _pull(image: str, context: BuildContext) -> None:
    from docker.errors import APIError
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(image)
    context.log(f"pulling {image}\n")
    with connect(timeout=_SILENCE_TIMEOUT) as api:
        stream = Stream(lambda: api.pull(repository, tag=tag or "latest", stream=True, decode=True))
        try:
            _watch_pull(image, stream, context)
        except APIError as error:
            if is_of_proxy(error):
                raise
            raise pull_error(image, message_of(error), permanent=status_of(error) in (400, 403, 404)) from error
        finally:
            stream.close()
    context.log(f"pulled {image}\n")


def _watch_pull(image: str, stream: Stream[EngineObject], context: BuildContext) -> None:
    layers: dict[str, tuple[int, int]] = {}
    reported, problem, ended = monotonic(), "", False
    while not ended:
        ended = stream.wait(_POLL_INTERVAL)
        context.check()
        for chunk in stream.take():
            problem = problem or str(chunk.get("error") or "")
            detail = chunk.get("progressDetail") or {}
            if chunk.get("status") == "Downloading" and detail.get("total"):
                layers[chunk.get("id", "")] = (detail.get("current", 0), detail["total"])
        if layers and monotonic() - reported > _REPORT_INTERVAL:
            reported = monotonic()
            done, total = (sum(numbers) / 1e6 for numbers in zip(*layers.values(), strict=True))
            context.log(f"pulling {image}: {done:.0f} of {total:.0f} MB\n")
    stream.take()  # raises the error that ended the stream
    if problem:
        raise pull_error(image, " ".join(problem.split()), permanent=bool(_PERMANENT.search(problem)))


def pull_error(image: str, reason: str, *, permanent: bool) -> ProvisionerError:
    """Return the error of a pull; `permanent`: the registry's answer is final, unless it gave none or throttles."""
    kind: type[ProvisionerError] = CannotBuildError if permanent else ProvisionerError
    if _AWAY.search(reason):
        kind = InterruptedStartError
    return kind(f"the image {image} cannot be pulled: {reason}")
