#!/bin/sh
# After an installation or an upgrade: an observer that runs is started again, as the new
# program. One that does not run stays as it is.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart hostguard-observe.service
fi
