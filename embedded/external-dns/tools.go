//go:build tools

// Package tools names the program of external-dns that embedded/catalog.yml builds, so that go.mod locks it.
package tools

import _ "sigs.k8s.io/external-dns"
