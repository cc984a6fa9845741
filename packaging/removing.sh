#!/bin/sh
# Before a removal: the observer ends, and its unit leaves no link behind. Its history stays.
# A unit that somebody has masked or removed by hand keeps nobody from removing the package.
set -e
case ${1:-} in
upgrade | failed-upgrade | deconfigure | 1) exit ;; # dpkg says so; rpm says how many versions will be left
esac
if command -v systemctl >/dev/null; then
	systemctl disable --quiet hostguard-observe.service || :
	[ ! -d /run/systemd/system ] || systemctl stop hostguard-observe.service || :
fi
