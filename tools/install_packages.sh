#!/usr/bin/env bash
# Install the named Debian or Ubuntu packages that are missing, when we may (root,
# or sudo without a password); otherwise say how, and let the caller go on.
# No service is started: the tests run private servers.
set -euo pipefail

policy=/usr/sbin/policy-rc.d # asked by Debian before a package starts a service
saved=$policy.saga-saved
as_root=()

is_there() {
    case $1 in
    python3-venv) "${PYTHON:-python3}" -c 'import ensurepip, venv' ;;
    postgresql) command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' ;;
    rabbitmq-server) command -v /usr/lib/rabbitmq/bin/rabbitmq-server || command -v rabbitmq-server ;;
    pgbouncer) command -v pgbouncer || command -v /usr/sbin/pgbouncer ;;
    *) dpkg-query --status "$1" ;;
    esac >/dev/null 2>&1
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] && return
    as_root=(sudo -n)
    "${as_root[@]}" true 2>/dev/null
}

forbid_starts() {
    # After a kill -9 of this script the first one is still saved: keep that.
    if [ -e "$policy" ] && [ ! -e "$saved" ]; then
        "${as_root[@]}" mv "$policy" "$saved"
    fi
    trap allow_starts EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
}

allow_starts() {
    "${as_root[@]}" rm -f "$policy"
    if [ -e "$saved" ]; then
        "${as_root[@]}" mv "$saved" "$policy"
    fi
}

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=120 "$@" </dev/null >&2
}

missing=()
for package; do
    is_there "$package" || missing+=("$package")
done
[ ${#missing[@]} = 0 ] && exit

if may_install; then
    echo "Installing ${missing[*]} …" >&2
    forbid_starts
    apt_get update || echo "apt-get update failed; trying with the lists there are." >&2
    apt_get install -y --no-install-recommends "${missing[@]}" && exit
fi
echo "Missing: ${missing[*]}. What needs them is skipped (with CI=true: fails). On Debian or Ubuntu:" >&2
echo "    sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
