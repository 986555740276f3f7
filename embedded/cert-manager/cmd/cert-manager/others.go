package main

import (
	"context"
	"flag"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	kubescheme "k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/cert-manager/cert-manager/internal/kube"
	"github.com/cert-manager/cert-manager/internal/webhook"
	injectorfile "github.com/cert-manager/cert-manager/pkg/cainjector/configfile"
	cmscheme "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned/scheme"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	"github.com/cert-manager/cert-manager/pkg/issuer/acme/http/solver"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util"
	webhookfile "github.com/cert-manager/cert-manager/pkg/webhook/configfile"
)

func runWebhook(ctx context.Context, data []byte) error {
	file := webhookfile.New()
	if err := file.DecodeAndConfigure(data); err != nil {
		return err
	}
	if err := prepare(&file.Config.Logging, file.Config.FeatureGates); err != nil {
		return err
	}
	server, err := webhook.NewCertManagerWebhookServer(logf.FromContext(ctx), *file.Config)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

func runInjector(ctx context.Context, data []byte) error {
	file := injectorfile.New()
	if err := file.DecodeAndConfigure(data); err != nil {
		return err
	}
	cfg := file.Config
	if err := prepare(&cfg.Logging, cfg.FeatureGates); err != nil {
		return err
	}
	ctrl.SetLogger(logf.FromContext(ctx))
	restConfig, err := kube.BuildClientConfig("", cfg.KubeConfig)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		kubescheme.AddToScheme, cmscheme.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
	election, namespaces := cfg.LeaderElectionConfig, map[string]ctrlcache.Config(nil)
	if cfg.Namespace != "" {
		namespaces = map[string]ctrlcache.Config{cfg.Namespace: {}}
	}
	manager, err := ctrl.NewManager(util.RestConfigWithUserAgent(restConfig, "cainjector"), ctrl.Options{
		Scheme:                        scheme,
		Cache:                         ctrlcache.Options{DefaultNamespaces: namespaces},
		Client:                        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		LeaderElection:                election.Enabled,
		LeaderElectionNamespace:       election.Namespace,
		LeaderElectionID:              "cert-manager-cainjector-leader-election",
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &election.LeaseDuration,
		RenewDeadline:                 &election.RenewDeadline,
		RetryPeriod:                   &election.RetryPeriod,
		Metrics:                       ctrlmetrics.Options{BindAddress: cfg.MetricsListenAddress},
	})
	if err != nil {
		return err
	}
	targets := cfg.EnableInjectableConfig
	if err := cainjector.RegisterAllInjectors(ctx, manager, cainjector.SetupOptions{
		Namespace:                    cfg.Namespace,
		IgnoreNamespaces:             cfg.IgnoreNamespaces,
		EnableCertificatesDataSource: cfg.EnableDataSourceConfig.Certificates,
		EnabledReconcilersFor: map[string]bool{
			cainjector.MutatingWebhookConfigurationName:   targets.MutatingWebhookConfigurations,
			cainjector.ValidatingWebhookConfigurationName: targets.ValidatingWebhookConfigurations,
			cainjector.APIServiceName:                     targets.APIServices,
			cainjector.CustomResourceDefinitionName:       targets.CustomResourceDefinitions,
		},
	}); err != nil {
		return err
	}
	return manager.Start(ctx)
}

// runSolver answers one HTTP-01 challenge; the controller starts it in a pod with these arguments.
func runSolver(ctx context.Context, args []string) error {
	challenge := &solver.HTTP01Solver{}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.IntVar(&challenge.ListenPort, "listen-port", 8089, "port to listen on")
	flags.StringVar(&challenge.Domain, "domain", "", "host name that is asked for")
	flags.StringVar(&challenge.Token, "token", "", "token of the challenge")
	flags.StringVar(&challenge.Key, "key", "", "answer to it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- challenge.Listen(logf.FromContext(ctx)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("listening on port %d: %w", challenge.ListenPort, err)
	case <-ctx.Done():
		return nil
	}
}
