# Slipway itself: API and worker are two commands of one image.
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /slipway
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM ${NODE_IMAGE}
# git: checkouts. util-linux: setpriv and unshare, so that no step outlives its worker. Clients of PostgreSQL: the worker takes that of
# the server's own major version, for an older one refuses the server, and what a newer one writes an older server may not know. Each
# takes 8 MB, 4 without the translations that slim images leave out.
ARG POSTGRES_CLIENTS="13 14 15 16 17 18"
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates git openssh-client util-linux postgresql-common \
  && YES=yes /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh \
  && apt-get install -y --no-install-recommends $(printf 'postgresql-client-%s ' ${POSTGRES_CLIENTS}) \
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
