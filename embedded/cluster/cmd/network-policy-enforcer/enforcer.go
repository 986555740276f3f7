package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"sigs.k8s.io/knftables"
)

const (
	together = 20 * time.Millisecond // events that are handled as one
	again    = time.Second           // after a failure
	inspect  = 30 * time.Second      // whether somebody else took the rules away
)

// enforcer keeps the table equal to what the API server says.
type enforcer struct {
	nft        knftables.Interface
	network    network
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   networkinglisters.NetworkPolicyLister
	woken      chan struct{}

	mutex sync.Mutex
	// addresses is what the network plugin said, which is earlier and surer than a pod's status; empty: given back.
	addresses map[types.UID]string
	applied   *ruleset // nil: not known
	failure   error
}

func newEnforcer(nft knftables.Interface, n network, factory informers.SharedInformerFactory) *enforcer {
	return &enforcer{
		nft:        nft,
		network:    n,
		pods:       factory.Core().V1().Pods().Lister(),
		namespaces: factory.Core().V1().Namespaces().Lister(),
		policies:   factory.Networking().V1().NetworkPolicies().Lister(),
		woken:      make(chan struct{}, 1),
		addresses:  map[types.UID]string{},
		failure:    errors.New("no rules yet"),
	}
}

func (e *enforcer) wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

// loop applies what changes until the end.
func (e *enforcer) loop(ctx context.Context) {
	e.wake()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(inspect):
			e.missing(ctx)
		case <-e.woken:
			time.Sleep(together)
			if err := e.sync(ctx); err != nil {
				slog.Error("rules were not applied, those of before stay", "error", err)
				time.AfterFunc(again, e.wake)
			}
		}
	}
}

// missing has rules that somebody took away written anew.
func (e *enforcer) missing(ctx context.Context) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.applied == nil {
		return
	}
	chains, err := e.nft.List(ctx, "chain")
	slices.Sort(chains)
	if err != nil || !slices.Equal(chains, sorted(e.applied.chains)) {
		slog.Warn("somebody changed the rules, they are written anew", "error", err)
		e.applied = nil
		e.wake()
	}
}

// sync brings the rules into force, in one step. Whoever calls it knows afterwards that they hold.
func (e *enforcer) sync(ctx context.Context) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.syncLocked(ctx)
}

func (e *enforcer) syncLocked(ctx context.Context) error {
	started := time.Now()
	w, err := e.look()
	if err != nil {
		return err
	}
	wanted := build(w, e.network)
	tx := e.nft.NewTransaction()
	if e.applied == nil {
		replace(tx, wanted)
	} else {
		change(tx, *e.applied, wanted)
	}
	if tx.NumOperations() == 0 {
		e.failure = nil
		return nil
	}
	if e.failure = e.nft.Run(ctx, tx); e.failure != nil {
		e.applied = nil
		return e.failure
	}
	e.applied = &wanted
	slog.Info("applied", "operations", tx.NumOperations(), "pods", len(w.pods), "policies", len(w.policies), "took", time.Since(started).Round(time.Millisecond))
	return nil
}

// look takes the world as it is known now.
func (e *enforcer) look() (world, error) {
	w := world{namespaces: map[string]labels.Set{}}
	namespaces, err := e.namespaces.List(labels.Everything())
	if err != nil {
		return w, err
	}
	for _, namespace := range namespaces {
		w.namespaces[namespace.Name] = namespace.Labels
	}
	if w.policies, err = e.policies.List(labels.Everything()); err != nil {
		return w, err
	}
	slices.SortFunc(w.policies, func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	pods, err := e.pods.List(labels.Everything())
	if err != nil {
		return w, err
	}
	w.pods = e.addressed(pods)
	return w, nil
}

// addressed returns the pods with an address of their own. Where two claim one, the plugin's word counts, then the younger pod.
func (e *enforcer) addressed(pods []*corev1.Pod) []pod {
	alive := map[types.UID]bool{}
	owners := map[string]*corev1.Pod{}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
	})
	for _, announced := range []bool{false, true} {
		for _, p := range pods {
			alive[p.UID] = true
			address, said := e.addresses[p.UID]
			if !said {
				address = p.Status.PodIP
			}
			if said == announced && address != "" && hasNetwork(p) {
				owners[address] = p
			}
		}
	}
	for uid := range e.addresses {
		if !alive[uid] {
			delete(e.addresses, uid)
		}
	}
	var found []pod
	for _, address := range sorted(owners) {
		p := owners[address]
		found = append(found, pod{namespace: p.Namespace, labels: p.Labels, address: address, ports: portsOf(p)})
	}
	return found
}

func hasNetwork(p *corev1.Pod) bool {
	ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	return !p.Spec.HostNetwork && !ended
}

func portsOf(p *corev1.Pod) []corev1.ContainerPort {
	var found []corev1.ContainerPort
	for _, container := range p.Spec.InitContainers {
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			found = append(found, container.Ports...)
		}
	}
	for _, container := range p.Spec.Containers {
		found = append(found, container.Ports...)
	}
	return found
}

// admit brings the rules for a new pod's address into force before its containers start.
func (e *enforcer) admit(ctx context.Context, a announcement) error {
	for {
		if p, err := e.pods.Pods(a.Namespace).Get(a.Name); err == nil && p.UID == a.UID {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pod %s/%s is not known", a.Namespace, a.Name)
		case <-time.After(together):
		}
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.addresses[a.UID] = a.Address
	return e.syncLocked(ctx)
}

// release forgets an address that the next pod may get.
func (e *enforcer) release(ctx context.Context, a announcement) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if present, said := e.addresses[a.UID]; said && present != a.Address {
		return nil // the pod has another one by now
	}
	e.addresses[a.UID] = ""
	return e.syncLocked(ctx)
}

func (e *enforcer) healthy() error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.failure
}
