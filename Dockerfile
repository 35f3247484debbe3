# Install the locked packages first, so that a change of the code does not install them again.
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_LINK_MODE=copy
WORKDIR /src
COPY requirements.lock pyproject.toml ./
# uv itself is locked, too.
RUN python -m venv /opt/prebuild && sed -n '/^uv==/,/[^\\]$/p' requirements.lock > uv.lock && pip install --require-hashes -r uv.lock
# What the service needs, at the locked versions and hashes, without development packages.
RUN uv pip install --python /opt/prebuild/bin/python --require-hashes -c requirements.lock -r pyproject.toml --extra postgres --extra docker --extra serve --compile-bytecode
COPY README.md LICENSE ./
COPY prebuild_tasks prebuild_tasks
COPY examples examples
RUN uv pip install --python /opt/prebuild/bin/python --no-deps --build-constraints requirements.lock --compile-bytecode .

FROM python:3.11-slim-bookworm
# What recipes of the process provisioner usually need, and an init.
RUN apt-get update && apt-get install -y --no-install-recommends git ca-certificates tini && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 prebuild && install -d -o prebuild -g prebuild -m 0700 /data
COPY --from=build /opt/prebuild /opt/prebuild
ENV PATH=/opt/prebuild/bin:$PATH PYTHONUNBUFFERED=1 PREBUILD_DATA_DIR=/data
USER prebuild
WORKDIR /data
VOLUME /data
# Reaps what workspaces leave behind; with -s also where it is not process 1, as with `docker run --init` or in a shared namespace.
ENTRYPOINT ["tini", "-s", "--"]
CMD ["prebuild", "--help"]
