# syntax=docker/dockerfile:1
# enface on a CPU (default) or on CUDA:
#   docker build -t enface .
#   docker build -t enface:cuda --build-arg DEVICE=cu126 .
# DEVICE is an index of https://download.pytorch.org/whl: cpu, cu126, cu128, ...
FROM python:3.12-slim

ARG DEVICE=cpu
ARG EXTRAS=synthetic

# OpenMP, which torch needs, is not part of the slim image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

# The versions are the ranges of pyproject.toml.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir "torch>=2.6" "torchvision>=0.21" --index-url "https://download.pytorch.org/whl/${DEVICE}"

WORKDIR /opt/enface
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY core core
COPY plugins plugins
COPY recipes recipes
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[${EXTRAS}]"

# Packs and pretrained weights; mount a volume here to keep them.
ENV ENFACE_CACHE=/cache
RUN useradd --create-home --uid 1000 enface \
    && mkdir /cache /work \
    && chown enface:enface /cache /work
USER 1000
WORKDIR /work
ENTRYPOINT ["enface"]
CMD ["--help"]
