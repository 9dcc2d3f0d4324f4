# Slipway itself: API and worker are two commands of one image.
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /slipway
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM ${NODE_IMAGE}
# git: checkouts. util-linux: setpriv and unshare, so that no step outlives its worker. The client of PostgreSQL must not
# be older than the servers that are backed up.
ARG POSTGRES_CLIENT=17
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates git openssh-client util-linux postgresql-common \
  && YES=yes /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh \
  && apt-get install -y --no-install-recommends "postgresql-client-${POSTGRES_CLIENT}" \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /slipway
COPY --from=dependencies /slipway/node_modules node_modules
COPY package.json ./
COPY bin bin
COPY scripts scripts
COPY src src
ENV NODE_ENV=production PATH=/slipway/bin:$PATH
# Ends API and worker the way they end themselves: what runs is finished or handed on.
STOPSIGNAL SIGTERM
CMD ["node", "src/api/main.ts"]
