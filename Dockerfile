# glassplate in a container. The wheel is built in one stage and installed in the next, so that nothing of the
# tree shadows the installed package.
#
#   docker build -t glassplate .                                                    CPU, the small torch
#   docker build -t glassplate:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .   CUDA
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" glassplate restore image.fits -o image.zarr
#   docker run --rm --gpus all --shm-size 2g ...                                    with a GPU
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS wheel
WORKDIR /src
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt build setuptools wheel
COPY pyproject.toml README.md LICENSE ./
COPY models ./models
COPY pipeline ./pipeline
COPY flows ./flows
COPY configs ./configs
RUN python -m build --wheel --no-isolation --outdir /wheels

FROM ${BASE_IMAGE} AS runtime
# The index beside PyPI that torch comes from: PyTorch's CPU index offers 2.13.0+cpu, which pip prefers to
# PyPI's 2.13.0 with CUDA. Naming PyPI itself here leaves the CUDA build as the only choice.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG REVISION=unknown
LABEL org.opencontainers.image.title="glassplate" \
      org.opencontainers.image.description="Bulk restoration of very large FITS and TIFF images with Deep Image Prior" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"

# Prefect: no telemetry, its database and results in a folder of ours, and time to start its embedded
# server on a busy machine (its own limit is 20 s).
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_HOME=/var/lib/glassplate/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120 \
    PREFECT_RESULTS_PERSIST_BY_DEFAULT=false \
    PREFECT_LOGGING_TO_API_ENABLED=true

# Any user may run it (docker run --user), hence the sticky, world-writable folders.
RUN useradd --create-home --uid 1000 glassplate \
 && mkdir -p /data /var/lib/glassplate/prefect \
 && chmod 1777 /data /var/lib/glassplate /var/lib/glassplate/prefect

COPY constraints.txt /tmp/
# torch by itself, the largest layer: it stays cached when glassplate changes.
RUN pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" -c /tmp/constraints.txt torch
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" -c /tmp/constraints.txt /tmp/wheels/*.whl

USER 1000
# A real Prefect flow and a small fit: an image that cannot do its work is not built. (pip reports no conflict
# where fastapi is too new for Prefect; running it does. Its database would belong to this user, so it goes.)
RUN PREFECT_HOME=/tmp/prefect glassplate doctor && rm -rf /tmp/prefect

WORKDIR /data
# Killing at any moment loses at most the tiles in flight: the same command resumes. SIGTERM ends in order.
STOPSIGNAL SIGTERM
# A restoration is a job, not a service: its exit code says how it went. `glassplate serve` against a Prefect
# server is watched there, by the heartbeats of its runs.
HEALTHCHECK NONE
ENTRYPOINT ["glassplate"]
CMD ["--help"]
