#!/bin/sh
# A small image: a static program, compiled and linked. It leaves a note of when
# it began and when it was done.
set -eu
site=$1
date +%s.%N >"$DEMO_RESULTS/$site.begin"
echo "building the image of $site"
mkdir image
CGO_ENABLED=0 go build -C "$DEMO_SOURCE" -trimpath -buildvcs=false -ldflags "-X main.commit=$site" -o "$PWD/image/app" .
if [ "$DEMO_BACKEND" = docker ] && command -v docker >/dev/null; then
	tar -C image -c . | docker import - "$DEMO_LOCK:$site" >/dev/null
	docker image rm "$DEMO_LOCK:$site" >/dev/null
else
	tar -czf image.tar.gz image
fi
echo "built the image of $site"
date +%s.%N >"$DEMO_RESULTS/$site.end"
