//go:build tools

// Package tools names the program that embedded/catalog.yml builds, so that go.mod locks it.
package tools

import (
	_ "github.com/google/go-containerregistry/cmd/crane"
)
