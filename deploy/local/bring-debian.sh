#!/bin/sh
# Makes sure that the servers and the browser which `make test` drives are on this machine. Nothing to do where the
# commands are there; as root on Debian or Ubuntu they are installed; else it says what to install and fails.
set -eu

packages="prometheus prometheus-alertmanager chromium chromium-driver fonts-dejavu-core"
font=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf

missing() {
    for command in prometheus promtool prometheus-alertmanager amtool chromium chromedriver; do
        command -v "$command" >/dev/null || printf ' %s' "$command"
    done
    [ -e "$font" ] || { command -v fc-list >/dev/null && fc-list | grep -q DejaVuSans; } || printf ' DejaVu-fonts'
}

fail() {
    echo "$1" >&2
    echo "The tests need:$(missing). On Debian or Ubuntu, as root:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends $packages" >&2
    echo "elsewhere from prometheus.io/download, the browser's own packages and dejavu-fonts.github.io, on PATH by these" >&2
    echo "names. Then run make again." >&2
    exit 1
}

[ -n "$(missing)" ] || exit 0
command -v apt-get >/dev/null || fail "There is no apt-get on this machine."
[ "$(id -u)" = 0 ] || fail "Only root can install packages, and this is $(id -un)."

# Debian starts a server as it is installed, on ports that a local stack may want. A policy that is there stays in force.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

echo "installing what the tests drive:$(missing)"
export DEBIAN_FRONTEND=noninteractive
patiently="-qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300"
# shellcheck disable=SC2086
apt-get $patiently update >/dev/null || fail "apt-get update failed; its reason is above."
# shellcheck disable=SC2086
apt-get $patiently install --yes --no-install-recommends $packages >/dev/null || fail "apt-get could not install; its reason is above."
[ -z "$(missing)" ] || fail "apt-get installed the packages, and something is still missing."
