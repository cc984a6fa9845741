module github.com/distribution/reference

go 1.26.0

require github.com/opencontainers/go-digest v1.0.0

replace github.com/opencontainers/go-digest => ../digest
