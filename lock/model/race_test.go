//go:build race

package model

// The race detector makes an exploration many times slower and has nothing to
// find in it, for it runs in one goroutine. make test explores all without it.
const raceDetector = true
