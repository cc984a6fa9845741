# The static binary and nothing else, for hosts where a container is handier than
# a file:
#
#   make image
#   docker run --rm -v /var/run/docker.sock:/var/run/docker.sock hostguard status
#
# It needs no network to build. BuildKit sets TARGETARCH; the classic builder
# takes amd64 unless it is told another.
FROM scratch
ARG TARGETARCH
COPY dist/hostguard-linux-${TARGETARCH:-amd64} /hostguard
ENTRYPOINT ["/hostguard"]
