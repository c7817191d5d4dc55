// A Vault server with what the tests use: Vault's own core, HTTP API, token store, AppRole, JWT, Kubernetes,
// userpass and key/value engine, Shamir's seal and storage in files. It is started as Vault is:
//
//	vault server -config=FILE
//
// Vault's own main package compiles four times as much, most of it the SDKs of clouds. What the core itself wants of
// those is in absent/, and not there, so that this one takes three minutes of processor time to build.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	auditFile "github.com/hashicorp/vault/builtin/audit/file"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/userpass"
	"github.com/hashicorp/vault/command/server"
	"github.com/hashicorp/vault/helper/metricsutil"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/vault"
)

// Set by the linker, from the version in catalog.py.
var version = "unknown"

// The core asks it for what is mounted by name and is not in its configuration: nothing.
type registry struct{}

func (registry) Contains(string, consts.PluginType) bool                   { return false }
func (registry) Get(string, consts.PluginType) (func() (any, error), bool) { return nil, false }
func (registry) Keys(consts.PluginType) []string                           { return nil }
func (registry) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("Vault v" + version)
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	const option = "-config="
	if len(arguments) != 2 || arguments[0] != "server" || !strings.HasPrefix(arguments[1], option) {
		return fmt.Errorf("expected server -config=FILE, got %q", arguments)
	}
	config, err := server.LoadConfigFile(strings.TrimPrefix(arguments[1], option))
	if err != nil {
		return err
	}
	if config.Storage == nil || config.Storage.Type != "file" || len(config.Listeners) != 1 {
		return errors.New("expected a configuration with file storage and one listener")
	}
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(config.LogLevel), Output: os.Stderr})
	storage, err := file.NewFileBackend(config.Storage.Config, logger)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		RawConfig:       config,
		Physical:        storage,
		StorageType:     config.Storage.Type,
		RedirectAddr:    config.APIAddr,
		BuiltinRegistry: registry{},
		AuditBackends:   map[string]audit.Factory{"file": auditFile.Factory},
		CredentialBackends: map[string]logical.Factory{
			"approle":    approle.Factory,
			"jwt":        jwt.Factory,
			"kubernetes": kubernetes.Factory,
			"userpass":   userpass.Factory,
		},
		LogicalBackends: map[string]logical.Factory{"kv": kv.Factory},
		DisableMlock:    config.DisableMlock,
		DefaultLeaseTTL: config.DefaultLeaseTTL,
		MaxLeaseTTL:     config.MaxLeaseTTL,
		Logger:          logger,
		MetricSink:      metricsutil.BlackholeSink(),
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", config.Listeners[0].Address)
	if err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: config.Listeners[0]})
	web := &http.Server{Handler: handler}
	ended, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ended.Done()
		web.Close()
	}()
	if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return core.Shutdown()
}
