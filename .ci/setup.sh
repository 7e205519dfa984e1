#!/usr/bin/env bash
# Installs what the tests need and this machine lacks, on Debian and its kin:
# a Redis server, Chromium, a C compiler for the race detector, nftables to cut
# links, two Python WebSocket clients, and the npm packages of the browser tests.
# Elsewhere it says what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "setup: $*" >&2
  exit 1
}

for program in go node npm; do
  command -v "$program" >/dev/null || die "$program is missing: install it first"
done

PATH=$PATH:/usr/sbin:/sbin # where nft is, and not everybody looks

missing=()
need() { # PROGRAM PACKAGE
  command -v "$1" >/dev/null || missing+=("$2")
}
need redis-server redis-server
need chromium chromium
need gcc gcc
need nft nftables
need ip iproute2
need nsenter util-linux
need_module() { # MODULE PACKAGE
  /usr/bin/python3 -c "import $1" 2>/dev/null || missing+=("$2")
}
need_module websockets python3-websockets
need_module aiohttp python3-aiohttp

if ((${#missing[@]} > 0)); then
  command -v apt-get >/dev/null || die "missing: ${missing[*]}; install them with this system's package manager"
  root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "missing: ${missing[*]}; run as root: apt-get install ${missing[*]}"
    root=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${root[@]}" apt-get -q update >/dev/null || die "apt-get update did not work"
  # The tests start servers of their own: the packaged service stays off.
  "${root[@]}" env RUNLEVEL=1 apt-get -qy install --no-install-recommends "${missing[@]}" >/dev/null ||
    die "could not install ${missing[*]}"
fi

packages=web/test/node_modules/.package-lock.json
if [[ ! -e $packages || web/test/package-lock.json -nt $packages ]]; then
  echo "setup: installing npm packages"
  npm ci --prefix web/test --no-audit --no-fund --loglevel=error || die "npm ci did not work in web/test"
  touch "$packages"
fi
