#!/usr/bin/env bash
# Dump a saga database: backup.sh postgresql://saga_owner@host/saga FILE
# The dump is of one instant; sagas go on meanwhile. FILE is there whole, or not at all.
set -euo pipefail

[ $# = 2 ] || {
    sed -n 2,3p "$0" >&2
    exit 2
}
url=$1 file=$2
part=$file.part
trap 'rm -f "$part"' EXIT

# saga_owner may not make a publication, and one that cannot be made fails the restore.
pg_dump --format=custom --no-owner --no-privileges --no-publications --no-subscriptions \
    --file="$part" "$url"
pg_restore --list "$part" >/dev/null # can it be read?
sync "$part"
mv "$part" "$file"
