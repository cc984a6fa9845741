#!/bin/sh
# A small image: a static program, compiled from nothing. It leaves a note of
# when it began and when it was done.
set -eu
site=$1
date +%s.%N >"$DEMO_RESULTS/$site.begin"
mkdir image
cat >main.go <<EOF
package main

import "fmt"

func main() { fmt.Println("$site") }
EOF
GOCACHE=$RUNNER_TEMP/go-build CGO_ENABLED=0 go build -trimpath -o image/app main.go
if [ "$DEMO_BACKEND" = docker ] && command -v docker >/dev/null; then
	tar -C image -c . | docker import - "$DEMO_LOCK:$site"
	docker image rm "$DEMO_LOCK:$site"
else
	tar -czf image.tar.gz image
fi
date +%s.%N >"$DEMO_RESULTS/$site.end"
