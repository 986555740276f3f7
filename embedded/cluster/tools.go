//go:build tools

// Package tools names the programs of other modules that embedded/catalog.yml builds, so that go.mod locks them.
package tools

import (
	_ "github.com/coredns/coredns"
	_ "github.com/rancher/local-path-provisioner"
	_ "helm.sh/helm/v4/cmd/helm"
	_ "sigs.k8s.io/metrics-server/cmd/metrics-server"
)
