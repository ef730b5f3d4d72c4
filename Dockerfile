# glassplate in a container. One stage builds the wheel and the next installs it, so that no file of the tree
# shadows the installed package.
#
#   docker build -t glassplate .                                                    CPU, the small torch build
#   docker build -t glassplate:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .   CUDA
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" glassplate restore image.fits -o image.zarr
#   docker run --rm --gpus all --shm-size 2g ...                                    with a GPU
# By digest, so that a build today and one next year begin with the same bytes. `docker buildx imagetools inspect
# python:3.11-slim-bookworm` shows a newer one.
ARG BASE_IMAGE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE_IMAGE} AS wheel
WORKDIR /src
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt build setuptools wheel
COPY pyproject.toml README.md LICENSE ./
COPY interface ./interface
COPY models ./models
COPY pipeline ./pipeline
COPY flows ./flows
COPY configs ./configs
RUN python -m build --wheel --no-isolation --outdir /wheels

FROM ${BASE_IMAGE} AS runtime
# The index, in addition to PyPI, that provides torch. PyTorch's CPU index offers 2.13.0+cpu, which pip prefers
# to the 2.13.0 with CUDA on PyPI. If PyPI itself is named here, the CUDA build is the only choice.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG REVISION=unknown
LABEL org.opencontainers.image.title="glassplate" \
      org.opencontainers.image.description="Bulk restoration of very large FITS and TIFF images with Deep Image Prior" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"

# Prefect: no telemetry, database and results in a folder of this image, and more time to start the embedded
# server on a busy machine (Prefect's default is 20 s).
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_HOME=/var/lib/glassplate/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120 \
    PREFECT_RESULTS_PERSIST_BY_DEFAULT=false \
    PREFECT_LOGGING_TO_API_ENABLED=true

# Any user may run the image (docker run --user), so the folders are sticky and world-writable.
RUN useradd --create-home --uid 1000 glassplate \
 && mkdir -p /data /var/lib/glassplate/prefect \
 && chmod 1777 /data /var/lib/glassplate /var/lib/glassplate/prefect

COPY constraints.txt /tmp/
# torch has its own layer, the largest, which stays cached when glassplate changes.
RUN pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" -c /tmp/constraints.txt torch
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" -c /tmp/constraints.txt /tmp/wheels/*.whl

USER 1000
# Run a real Prefect flow and a small fit, so that the build of an image that does not work fails. (pip reports no
# conflict if fastapi is too new for Prefect; a flow does.) The database would belong to this user: remove it.
RUN PREFECT_HOME=/tmp/prefect glassplate doctor && rm -rf /tmp/prefect

WORKDIR /data
# SIGTERM ends the command in order. A kill loses only the tiles in progress; the same command resumes.
STOPSIGNAL SIGTERM
# A restoration is a job, not a service: its exit code reports the outcome. A Prefect server monitors `glassplate
# serve` by the heartbeats of its runs.
HEALTHCHECK NONE
ENTRYPOINT ["glassplate"]
CMD ["--help"]
