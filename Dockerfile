# The program with Mesa's Vulkan drivers, among them lavapipe, which needs no GPU:
#   docker build -t retrospect .
#   docker run --rm -v "$PWD:/data" retrospect train --text book.txt --out runs/book
# For an AMD or Intel GPU: --device /dev/dri and --group-add with the group of that device. For an NVIDIA GPU: --gpus all and
# -e NVIDIA_DRIVER_CAPABILITIES=all, with NVIDIA's container toolkit.
# The user in the container has the number 1000. Where yours differs: --user "$(id -u):$(id -g)".
FROM rust:1-slim-bookworm AS builder
WORKDIR /source
COPY . .
ENV CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=false
RUN cargo build --release --locked

FROM debian:bookworm-slim
# Debian keeps only the latest of each package, so a version pinned here would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home retrospect \
    && install -d -o retrospect -g retrospect /data
COPY --from=builder /source/target/release/retrospect /usr/local/bin/retrospect
COPY LICENSE-MIT LICENSE-APACHE /usr/local/share/doc/retrospect/
# Mesa's device-select layer looks for a display and complains where there is none.
ENV NODEVICE_SELECT=1
USER 1000
WORKDIR /data
ENTRYPOINT ["retrospect"]
CMD ["--help"]
