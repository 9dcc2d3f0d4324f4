#!/bin/sh
# The namespace and the search attributes that Slipway looks runs up by. Changes nothing where they are there.
set -eu

# A try that is refused ends at once; one that nobody answers has the client's own limit of 5 s. With 2 s between them 30 take 58 to 208 s.
began=$(date +%s)
tries=1
until temporal operator cluster health; do
  if [ "$tries" -ge 30 ]; then
    echo "Temporal at $TEMPORAL_ADDRESS is not healthy after $tries tries in $(($(date +%s) - began)) s; look at its log"
    exit 1
  fi
  tries=$((tries + 1))
  sleep 2
done

temporal operator namespace describe --namespace default >/dev/null 2>&1 ||
  temporal operator namespace create --namespace default --retention 30d

known=$(temporal operator search-attribute list --namespace default)
for name in SlipwayProject SlipwayEnvironment SlipwayPhase SlipwayVersion; do
  case $known in
    *"$name"*) ;;
    *) temporal operator search-attribute create --namespace default --name "$name" --type Keyword ;;
  esac
done
