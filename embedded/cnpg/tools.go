//go:build tools

// Package tools names the program of CloudNativePG that embedded/catalog.yml builds, and the package whose folder holds the definition
// of object stores, so that go.mod locks them.
package tools

import (
	_ "github.com/cloudnative-pg/cloudnative-pg/cmd/manager"
	_ "github.com/cloudnative-pg/plugin-barman-cloud/api/v1"
)
