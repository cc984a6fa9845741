// Package digest is in the place of that module, for types alone.
package digest

// Digest is the checksum of an image, as its owner writes it.
type Digest string

// String returns d.
func (d Digest) String() string { return string(d) }
