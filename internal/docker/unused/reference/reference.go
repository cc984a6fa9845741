// Package reference is in the place of that module, and refuses every name of an image.
package reference

import (
	"errors"

	"github.com/opencontainers/go-digest"
)

var errImages = errors.New("this program does not name images")

// Reference is a name of an image in any form.
type Reference interface{ String() string }

// Named is a reference with a name.
type Named interface {
	Reference
	Name() string
}

// Tagged is a reference with a tag.
type Tagged interface {
	Reference
	Tag() string
}

// Digested is a reference with a digest.
type Digested interface {
	Reference
	Digest() digest.Digest
}

// Canonical is a name with a digest.
type Canonical interface {
	Named
	Digest() digest.Digest
}

// ParseNormalizedNamed returns an error.
func ParseNormalizedNamed(string) (Named, error) { return nil, errImages }

// ParseAnyReference returns an error.
func ParseAnyReference(string) (Reference, error) { return nil, errImages }

// WithDigest returns an error.
func WithDigest(Named, digest.Digest) (Canonical, error) { return nil, errImages }

// TagNameOnly returns name.
func TagNameOnly(name Named) Named { return name }

// FamiliarString returns the reference as it is.
func FamiliarString(r Reference) string { return r.String() }
