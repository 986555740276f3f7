package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	config "github.com/cert-manager/cert-manager/internal/apis/config/controller"
	defaults "github.com/cert-manager/cert-manager/internal/apis/config/controller/v1alpha1"
	"github.com/cert-manager/cert-manager/internal/pem"
	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmechallenges"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmeorders"
	gatewayshim "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/gateways"
	"github.com/cert-manager/cert-manager/pkg/controller/configfile"
	"github.com/cert-manager/cert-manager/pkg/healthz"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/acme"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/vault"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/venafi"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

const stopSeconds = 5

func runController(ctx context.Context, data []byte) error {
	file := configfile.New()
	if err := file.DecodeAndConfigure(data); err != nil {
		return err
	}
	cfg := file.Config
	if err := prepare(&cfg.Logging, cfg.FeatureGates); err != nil {
		return err
	}
	limits := cfg.PEMSizeLimitsConfig
	pem.SetGlobalSizeLimits(pem.NewSizeLimitsFromConfig(limits.MaxCertificateSize, limits.MaxPrivateKeySize, limits.MaxChainLength, limits.MaxBundleSize))
	options, err := contextOptions(cfg)
	if err != nil {
		return err
	}
	factory, err := controller.NewContextFactory(ctx, options)
	if err != nil {
		return err
	}
	root, err := factory.Build()
	if err != nil {
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	health := healthz.NewServer(cfg.LeaderElectionConfig.HealthzTimeout)
	if err := serve(ctx, group, cfg.HealthzListenAddress, health.Start); err != nil {
		return fmt.Errorf("healthzListenAddress: %w", err)
	}
	if err := serve(ctx, group, cfg.MetricsListenAddress, func(ctx context.Context, listener net.Listener) error {
		return serveUntil(ctx, root.Metrics.NewServer(listener), listener)
	}); err != nil {
		return fmt.Errorf("metricsListenAddress: %w", err)
	}
	group.Go(func() error {
		return lead(ctx, cfg, root, health, func(ctx context.Context) error { return runControllers(ctx, cfg, factory, root) })
	})
	return group.Wait()
}

// serve runs a server on an address beside the controllers; an empty address is none.
func serve(ctx context.Context, group *errgroup.Group, address string, run func(context.Context, net.Listener) error) error {
	if address == "" || address == "0" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	group.Go(func() error { return run(ctx, listener) })
	return nil
}

func serveUntil(ctx context.Context, server *http.Server, listener net.Listener) error {
	go func() {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopSeconds*time.Second)
		defer cancel()
		_ = server.Shutdown(stopping)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// lead runs work while this process is the leader. One that has lost the lease ends, and is started again by Kubernetes.
func lead(ctx context.Context, cfg *config.ControllerConfiguration, root *controller.Context, health *healthz.Server, work func(context.Context) error) error {
	election := cfg.LeaderElectionConfig
	if !election.Enabled {
		return work(ctx)
	}
	identity, err := os.Hostname()
	if err != nil {
		return err
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, election.Namespace, "cert-manager-controller", root.Client.CoreV1(),
		root.Client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: identity, EventRecorder: root.Recorder})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   election.LeaseDuration,
		RenewDeadline:   election.RenewDeadline,
		RetryPeriod:     election.RetryPeriod,
		ReleaseOnCancel: true,
		WatchDog:        health.LeaderHealthzAdaptor,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { failed <- work(ctx); cancel() },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	select {
	case err := <-failed:
		return err
	case <-time.After(stopSeconds * time.Second):
		return errors.New("the lease of the leader is lost")
	}
}

// runControllers runs every controller that is wanted until the context ends or one of them fails.
func runControllers(ctx context.Context, cfg *config.ControllerConfiguration, factory *controller.ContextFactory, root *controller.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	wanted := wantedControllers(cfg)
	for name, construct := range controller.Known() {
		if !wanted.Has(name) {
			continue
		}
		made, err := construct(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		logf.FromContext(ctx, name).V(logf.InfoLevel).Info("starting")
		group.Go(func() error { return made.Run(cfg.NumberOfConcurrentWorkers, ctx) })
	}
	root.SharedInformerFactory.Start(ctx.Done())
	root.KubeSharedInformerFactory.Start(ctx.Done())
	root.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	if root.GatewaySolverEnabled {
		root.GWShared.Start(ctx.Done())
	}
	return group.Wait()
}

// wantedControllers reads the list as the released program does: "*" are those on by default, "-name" takes one out.
func wantedControllers(cfg *config.ControllerConfiguration) sets.Set[string] {
	wanted := sets.New[string]()
	for _, name := range cfg.Controllers {
		switch {
		case name == "*":
			wanted.Insert(defaults.DefaultEnabledControllers...)
			if cfg.EnableGatewayAPI || cfg.GatewayAPIConfig.Enabled {
				wanted.Insert(gatewayshim.ControllerName)
			}
		case !strings.HasPrefix(name, "-"):
			wanted.Insert(name)
		}
	}
	for _, name := range cfg.Controllers {
		wanted.Delete(strings.TrimPrefix(name, "-"))
		if !strings.HasPrefix(name, "-") && name != "*" {
			wanted.Insert(name)
		}
	}
	return wanted
}

func contextOptions(cfg *config.ControllerConfiguration) (controller.ContextOptions, error) {
	acme, err := acmeOptions(cfg)
	return controller.ContextOptions{
		APIServerHost:      cfg.APIServerHost, //nolint:staticcheck // part of the file's version
		Kubeconfig:         cfg.KubeConfig,
		KubernetesAPIQPS:   cfg.KubernetesAPIQPS,
		KubernetesAPIBurst: cfg.KubernetesAPIBurst,
		Namespace:          cfg.Namespace,
		ACMEOptions:        acme,
		IssuerOptions: controller.IssuerOptions{
			ClusterResourceNamespace:        cfg.ClusterResourceNamespace,
			ClusterIssuerAmbientCredentials: cfg.ClusterIssuerAmbientCredentials,
			IssuerAmbientCredentials:        cfg.IssuerAmbientCredentials,
		},
		IngressShimOptions: controller.IngressShimOptions{
			DefaultIssuerName:                 cfg.IngressShimConfig.DefaultIssuerName,
			DefaultIssuerKind:                 cfg.IngressShimConfig.DefaultIssuerKind,
			DefaultIssuerGroup:                cfg.IngressShimConfig.DefaultIssuerGroup,
			DefaultAutoCertificateAnnotations: cfg.IngressShimConfig.DefaultAutoCertificateAnnotations,
			ExtraCertificateAnnotations:       cfg.IngressShimConfig.ExtraCertificateAnnotations,
			GatewayAPIExtraProtocols:          sets.New(cfg.GatewayAPIConfig.ExtraProtocols...),
		},
		CertificateOptions: controller.CertificateOptions{
			EnableOwnerRef:                           cfg.EnableCertificateOwnerRef,
			CopiedAnnotationPrefixes:                 cfg.CopiedAnnotationPrefixes,
			CertificateRequestMinimumBackoffDuration: cfg.CertificateRequestMinimumBackoffDuration,
			CertificateRequestMaximumBackoffDuration: cfg.CertificateRequestMaximumBackoffDuration,
		},
		SchedulerOptions: controller.SchedulerOptions{MaxConcurrentChallenges: cfg.MaxConcurrentChallenges},
		ConfigOptions: controller.ConfigOptions{
			EnableGatewayAPI:            cfg.EnableGatewayAPI || cfg.GatewayAPIConfig.Enabled,
			EnableGatewayAPIListenerSet: cfg.EnableGatewayAPIListenerSet || cfg.GatewayAPIConfig.EnableListenerSet,
		},
	}, err
}

func acmeOptions(cfg *config.ControllerConfiguration) (controller.ACMEOptions, error) {
	http01, dns01 := cfg.ACMEHTTP01Config, cfg.ACMEDNS01Config
	options := controller.ACMEOptions{
		HTTP01SolverImage:            http01.SolverImage,
		ACMEHTTP01SolverRunAsNonRoot: http01.SolverRunAsNonRoot,
		HTTP01SolverRuntimeClassName: http01.SolverRuntimeClassName,
		HTTP01SolverNameservers:      http01.SolverNameservers,
		HTTP01SolverExtraLabels:      http01.SolverExtraLabels,
		DNS01Nameservers:             dns01.RecursiveNameservers,
		DNS01CheckAuthoritative:      !dns01.RecursiveNameserversOnly,
		DNS01CheckRetryPeriod:        dns01.CheckRetryPeriod,
	}
	for text, into := range map[string]*resource.Quantity{
		http01.SolverResourceRequestCPU:    &options.HTTP01SolverResourceRequestCPU,
		http01.SolverResourceRequestMemory: &options.HTTP01SolverResourceRequestMemory,
	} {
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			return options, fmt.Errorf("acmeHTTP01Config: %q: %w", text, err)
		}
		*into = quantity
	}
	return options, nil
}
