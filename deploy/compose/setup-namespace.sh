#!/bin/sh
# The namespace and the search attributes that Slipway looks runs up by. Changes nothing where they are there.
set -eu

tries=0
until temporal operator cluster health; do
  tries=$((tries + 1))
  [ "$tries" -lt 30 ] || { echo "Temporal at $TEMPORAL_ADDRESS is not healthy after 60 s; look at its log"; exit 1; }
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
