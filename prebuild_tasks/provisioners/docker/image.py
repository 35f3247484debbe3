"""Getting a container's image."""

from __future__ import annotations

import re
from typing import Any

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners.docker.config import DockerConfig
from prebuild_tasks.provisioners.docker.engine import Stream, connect, status, words
from prebuild_tasks.provisioners.port import BuildContext

_LOOK = 0.2
_SAY_EVERY = 5.0
_QUIET = 900.0
"""Seconds without a word from the engine that end a pull: unpacking a large layer is silent."""
_POINTLESS = re.compile(
    r"manifest unknown|name unknown|not found|does not exist|denied|invalid reference|short-name", re.IGNORECASE
)


def ensure(api: Any, config: DockerConfig, context: BuildContext) -> None:
    """The image is there, pulled if need be. Raises CannotBuildError when there is no such image."""
    from docker.errors import NotFound

    if config.pull != "always":
        try:
            api.inspect_image(config.image)
            return
        except NotFound as error:
            if config.pull == "never":
                hint = "pull it on the engine's host, or leave out pull: never"
                raise CannotBuildError(f"the image {config.image} is not there: {words(error)}", hint=hint) from error
    _pull(config.image, context)


def _pull(image: str, context: BuildContext) -> None:
    from docker.errors import APIError
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(image)
    context.log(f"pulling {image}\n")
    with connect(timeout=_QUIET) as api:
        stream = Stream(lambda: api.pull(repository, tag=tag or "latest", stream=True, decode=True))
        try:
            _follow(image, stream, context)
        except APIError as error:
            raise _failed(image, words(error), pointless=status(error) in (400, 403, 404)) from error
        finally:
            stream.close()
    context.log(f"pulled {image}\n")


def _follow(image: str, stream: Stream, context: BuildContext) -> None:
    layers: dict[str, tuple[int, int]] = {}
    said, problem, ended = monotonic(), "", False
    while not ended:
        ended = stream.wait(_LOOK)
        context.check()
        for chunk in stream.take():
            problem = problem or str(chunk.get("error") or "")
            detail = chunk.get("progressDetail") or {}
            if chunk.get("status") == "Downloading" and detail.get("total"):
                layers[chunk.get("id", "")] = (detail.get("current", 0), detail["total"])
        if layers and monotonic() - said > _SAY_EVERY:
            said = monotonic()
            done, total = (sum(numbers) / 1e6 for numbers in zip(*layers.values(), strict=True))
            context.log(f"pulling {image}: {done:.0f} of {total:.0f} MB\n")
    stream.take()  # raises what broke the stream off
    if problem:
        raise _failed(image, " ".join(problem.split()), pointless=bool(_POINTLESS.search(problem)))


def _failed(image: str, reason: str, *, pointless: bool) -> ProvisionerError:
    kind = CannotBuildError if pointless else ProvisionerError
    return kind(f"the image {image} can't be pulled: {reason}")
