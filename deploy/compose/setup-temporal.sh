#!/bin/sh
# Makes Temporal's two databases, or brings them to the schema of this version. Run before each start; changes nothing
# where nothing is to be changed. SQL_PASSWORD is read by the tool itself.
set -eu

tool() {
  temporal-sql-tool --plugin postgres12 --ep "$POSTGRES_SEEDS" -p 5432 -u "$POSTGRES_USER" --db "$@"
}

for pair in temporal:temporal temporal_visibility:visibility; do
  database=${pair%%:*}
  tool "$database" create
  # Version 0.0 is what an empty database begins at; one that is further on stays there.
  tool "$database" setup-schema -v 0.0 || echo "$database has a schema already"
  tool "$database" update-schema -d "/etc/temporal/schema/postgresql/v12/${pair##*:}/versioned"
done
