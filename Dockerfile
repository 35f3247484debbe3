# The locked packages first, so that a change of the code does not install them again.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/prebuild && pip install uv
COPY requirements.lock ./
RUN uv pip install --python /opt/prebuild/bin/python --require-hashes -r requirements.lock --compile-bytecode
COPY pyproject.toml README.md LICENSE ./
COPY prebuild_tasks prebuild_tasks
COPY examples examples
RUN uv pip install --python /opt/prebuild/bin/python --no-deps --no-build-isolation --compile-bytecode .

FROM python:3.11-slim
# What the process provisioner's recipes usually need.
RUN apt-get update && apt-get install -y --no-install-recommends git ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 prebuild && install -d -o prebuild -g prebuild /data
COPY --from=build /opt/prebuild /opt/prebuild
ENV PATH=/opt/prebuild/bin:$PATH PYTHONUNBUFFERED=1 PREBUILD_DATA_DIR=/data
USER prebuild
WORKDIR /data
VOLUME /data
CMD ["prebuild", "--help"]
