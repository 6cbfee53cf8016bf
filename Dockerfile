# A static binary in an empty image: no shell, no package, no root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION} -X main.buildTime=$(date -u +%Y-%m-%dT%H:%M:%SZ)" -o /nightshift ./cmd/nightshift \
 && mkdir -p /data && chown 65532:65532 /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /nightshift /nightshift
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
VOLUME /data
# The daemon's own NATS answers on loopback inside the container only.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/nightshift", "status", "--ready"]
ENTRYPOINT ["/nightshift"]
CMD ["run", "--config", "/etc/nightshift/nightshift.yaml", "--data-dir", "/data"]
