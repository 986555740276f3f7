//go:build tools

// Package tools names the programs of Vault that embedded/catalog.yml builds, so that go.mod locks them.
package tools

import (
	_ "github.com/hashicorp/vault"
	_ "github.com/hashicorp/vault/plugins/database/postgresql/postgresql-database-plugin"
)
