// Command network-policy-enforcer makes NetworkPolicy objects hold on the embedded cluster's one node, whose CNI plugins enforce none.
// It knows one node and IPv4 and is no network plugin for a real cluster.
//
// It watches pods, namespaces and policies and keeps one nftables table (see build). The rules are the kernel's: they stay in force
// while this program is away, and a start replaces them in one step. Called by the container runtime (CNI_COMMAND is set) it is the
// last plugin of the pod network's chain: a pod's containers start only when the rules for its address are in force.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/knftables"
)

type options struct {
	kubeconfig string
	socket     string
	healthz    string
	network    network
}

func main() {
	if command := os.Getenv("CNI_COMMAND"); command != "" {
		os.Exit(plug(command, os.Stdin, os.Stdout))
	}
	opts, err := parse(os.Args[1:])
	if err == nil {
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer cancel()
		err = run(ctx, opts)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		slog.Error("ended", "error", err)
		os.Exit(1)
	}
}

func parse(arguments []string) (options, error) {
	var opts options
	flags := flag.NewFlagSet("network-policy-enforcer", flag.ContinueOnError)
	flags.StringVar(&opts.kubeconfig, "kubeconfig", "", "kubeconfig that may list and watch pods, namespaces and network policies")
	flags.StringVar(&opts.socket, "socket", "", "unix socket where the network plugin announces pods")
	flags.StringVar(&opts.healthz, "healthz-address", "", "address and port of /healthz")
	flags.TextVar(&opts.network.pods, "pod-cidr", netip.Prefix{}, "network of the pods")
	flags.Func("node-address", "address whose connections to pods are always let in; may be repeated", func(text string) error {
		address, err := netip.ParseAddr(text)
		opts.network.node = append(opts.network.node, address)
		return err
	})
	if err := flags.Parse(arguments); err != nil {
		return opts, err
	}
	if opts.kubeconfig == "" || opts.socket == "" || opts.healthz == "" || !opts.network.pods.Addr().Is4() || len(opts.network.node) == 0 {
		return opts, errors.New("--kubeconfig, --socket, --healthz-address, --node-address and --pod-cidr (IPv4) are needed")
	}
	return opts, nil
}

func run(ctx context.Context, opts options) error {
	config, err := clientcmd.BuildConfigFromFlags("", opts.kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	nft, err := knftables.New(knftables.IPv4Family, table)
	if err != nil {
		return fmt.Errorf("nftables cannot be used: %w", err)
	}
	if err := untilAllowed(ctx, client); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	e := newEnforcer(nft, opts.network, factory)
	wake := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { e.wake() },
		UpdateFunc: func(any, any) { e.wake() },
		DeleteFunc: func(any) { e.wake() },
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Pods().Informer(),
		factory.Core().V1().Namespaces().Informer(),
		factory.Networking().V1().NetworkPolicies().Informer(),
	} {
		if _, err := informer.AddEventHandler(wake); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	for kind, known := range factory.WaitForCacheSync(ctx.Done()) {
		if !known {
			return fmt.Errorf("%v were not listed before the end", kind)
		}
	}
	if err := serve(ctx, e, opts.socket, opts.healthz); err != nil {
		return err
	}
	e.loop(ctx)
	return nil
}

// untilAllowed waits for the API server and for the rights: on a new cluster both come after this program.
func untilAllowed(ctx context.Context, client kubernetes.Interface) error {
	for attempt := 0; ; attempt++ {
		_, err := client.NetworkingV1().NetworkPolicies("").List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil {
			return nil
		}
		if attempt%100 == 0 {
			slog.Info("waiting for the API server", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}
