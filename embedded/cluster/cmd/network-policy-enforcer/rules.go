package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	// longestName leaves room below the kernel's limit for what build appends.
	longestName = 100
	// refuse tells the sender at once, with an error that a closed port does not give.
	refuse = "counter reject with icmp type admin-prohibited"
)

// network is what the node's addresses mean.
type network struct {
	pods netip.Prefix
	node []netip.Addr
}

// pod is one that has an address of its own.
type pod struct {
	namespace string
	labels    labels.Set
	address   string
	ports     []corev1.ContainerPort
}

// world is all that rules are made from.
type world struct {
	pods       []pod
	namespaces map[string]labels.Set
	policies   []*networkingv1.NetworkPolicy
}

// collection is a set, or a map when its type has a value; elements by key.
type collection struct {
	kind     string
	elements map[string]string
}

// ruleset is the content of the table, by name. Rules refer to pods by sets alone, so that a pod that comes or goes changes elements.
type ruleset struct {
	chains map[string][]string
	sets   map[string]collection
}

// direction is one half of a policy: how its peers are matched, and what happens to a packet that it allows.
type direction struct {
	kind    networkingv1.PolicyType
	peer    string
	verdict string
}

var (
	ingress = direction{networkingv1.PolicyTypeIngress, "saddr", "accept"}
	// What may go out must still be let in.
	egress = direction{networkingv1.PolicyTypeEgress, "daddr", "goto destination"}
)

func (d direction) String() string { return strings.ToLower(string(d.kind)) }

// build decides the whole table. A packet passes `forward` or, to the node itself, `input`, after kube-proxy has replaced a Service's
// address with a pod's: `source` asks the policies of the sender, `destination` those of the receiver. A pod that a policy selects is in
// the map of that direction and leads to a chain of its own combination of policies, which ends in a refusal.
// What the node sends passes neither hook; connections that are there go on, also when a policy that forbids them is new.
func build(w world, n network) ruleset {
	rules := ruleset{chains: map[string][]string{}, sets: map[string]collection{}}
	known, self := rules.set("pods", "ipv4_addr"), rules.set("self", "ipv4_addr . ipv4_addr")
	for _, p := range w.pods {
		known[p.address] = ""
		self[p.address+" . "+p.address] = ""
	}
	var node []string
	for _, address := range n.node {
		node = append(node, address.String())
	}
	unknown := func(side string) string {
		return fmt.Sprintf("ip %s %s ip %s != @pods counter drop", side, n.pods, side)
	}
	rules.chains["forward"] = []string{
		"ct state established,related accept",
		"ip saddr { " + strings.Join(node, ", ") + " } accept",
		"ip saddr . ip daddr @self accept",
		unknown("saddr"),
		unknown("daddr"),
		"goto source",
	}
	rules.chains["input"] = []string{"ct state established,related accept", `iifname "lo" accept`, unknown("saddr"), "goto source"}
	rules.chains["source"] = []string{"ip saddr vmap @egress", "goto destination"}
	rules.chains["destination"] = []string{"ip daddr vmap @ingress", "accept"}
	for _, d := range []direction{ingress, egress} {
		rules.isolate(w, d)
		for _, policy := range w.policies {
			if slices.Contains(policy.Spec.PolicyTypes, d.kind) {
				rules.policy(w, policy, d)
			}
		}
	}
	return rules
}

func (r ruleset) set(name, kind string) map[string]string {
	if _, there := r.sets[name]; !there {
		r.sets[name] = collection{kind, map[string]string{}}
	}
	return r.sets[name].elements
}

// isolate leads each pod that policies select to them.
func (r ruleset) isolate(w world, d direction) {
	verdicts := r.set(d.String(), "ipv4_addr : verdict")
	for _, p := range w.pods {
		var chains []string
		for _, policy := range w.policies {
			if policy.Namespace == p.namespace && slices.Contains(policy.Spec.PolicyTypes, d.kind) && matches(&policy.Spec.PodSelector, p.labels) {
				chains = append(chains, chainOf(policy, d))
			}
		}
		if len(chains) == 0 {
			continue
		}
		slices.Sort(chains)
		group := fmt.Sprintf("pods/%s/%s", d, digest(chains...))
		if _, there := r.chains[group]; !there {
			var rules []string
			for _, chain := range chains {
				rules = append(rules, "jump "+chain)
			}
			r.chains[group] = append(rules, refuse)
		}
		verdicts[p.address] = "goto " + group
	}
}

// policy writes what one policy allows in one direction.
func (r ruleset) policy(w world, policy *networkingv1.NetworkPolicy, d direction) {
	chain := chainOf(policy, d)
	r.chains[chain] = []string{}
	allow := func(number int, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) {
		for _, from := range r.peers(w, policy.Namespace, fmt.Sprintf("%s/%d", chain, number), peers, d) {
			for _, port := range r.ports(w, ports) {
				r.chains[chain] = append(r.chains[chain], strings.Join(slices.DeleteFunc([]string{from, port, d.verdict}, empty), " "))
			}
		}
	}
	if d.kind == networkingv1.PolicyTypeIngress {
		for number, rule := range policy.Spec.Ingress {
			allow(number, rule.From, rule.Ports)
		}
		return
	}
	for number, rule := range policy.Spec.Egress {
		allow(number, rule.To, rule.Ports)
	}
}

// peers returns one match for each address block and one for all pods that selectors name; an empty one matches everybody.
func (r ruleset) peers(w world, namespace, name string, peers []networkingv1.NetworkPolicyPeer, d direction) []string {
	if len(peers) == 0 {
		return []string{""}
	}
	var found []string
	var selecting []networkingv1.NetworkPolicyPeer
	for _, peer := range peers {
		if peer.IPBlock == nil {
			selecting = append(selecting, peer)
		} else if match, ok := block(peer.IPBlock, d); ok {
			found = append(found, match)
		}
	}
	if len(selecting) == 0 {
		return found
	}
	elements := r.set(name, "ipv4_addr")
	for _, p := range w.pods {
		if slices.ContainsFunc(selecting, func(peer networkingv1.NetworkPolicyPeer) bool { return w.selects(peer, namespace, p) }) {
			elements[p.address] = ""
		}
	}
	return append(found, fmt.Sprintf("ip %s @%s", d.peer, name))
}

func (w world) selects(peer networkingv1.NetworkPolicyPeer, namespace string, p pod) bool {
	if peer.NamespaceSelector == nil && p.namespace != namespace {
		return false
	}
	if peer.NamespaceSelector != nil && !matches(peer.NamespaceSelector, w.namespaces[p.namespace]) {
		return false
	}
	return peer.PodSelector == nil || matches(peer.PodSelector, p.labels)
}

// block matches an address block; false for one of another family, where no packet of this node comes from.
func block(b *networkingv1.IPBlock, d direction) (string, bool) {
	whole, err := netip.ParsePrefix(b.CIDR)
	if err != nil || !whole.Addr().Is4() {
		return "", false
	}
	var parts []string
	if whole.Bits() > 0 {
		parts = append(parts, fmt.Sprintf("ip %s %s", d.peer, whole.Masked()))
	}
	for _, text := range b.Except {
		if except, err := netip.ParsePrefix(text); err == nil && except.Addr().Is4() {
			parts = append(parts, fmt.Sprintf("ip %s != %s", d.peer, except.Masked()))
		}
	}
	return strings.Join(parts, " "), true
}

// ports returns one match for each port; an empty one matches all of every protocol.
func (r ruleset) ports(w world, ports []networkingv1.NetworkPolicyPort) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var found []string
	for _, port := range ports {
		protocol := strings.ToLower(string(protocolOf(port.Protocol)))
		switch {
		case port.Port == nil:
			found = append(found, "meta l4proto "+protocol)
		case port.Port.Type == intstr.String:
			found = append(found, r.named(w, protocol, port.Port.StrVal))
		case port.EndPort != nil:
			found = append(found, fmt.Sprintf("%s dport %d-%d", protocol, port.Port.IntVal, *port.EndPort))
		default:
			found = append(found, fmt.Sprintf("%s dport %d", protocol, port.Port.IntVal))
		}
	}
	return found
}

// named matches a port by its name: every pod has its own number for it, and the receiver's counts in both directions.
func (r ruleset) named(w world, protocol, port string) string {
	name := fmt.Sprintf("port/%s/%s", protocol, port)
	elements := r.set(name, "ipv4_addr . inet_service")
	for _, p := range w.pods {
		for _, own := range p.ports {
			if own.Name == port && strings.EqualFold(string(protocolOf(&own.Protocol)), protocol) {
				elements[fmt.Sprintf("%s . %d", p.address, own.ContainerPort)] = ""
			}
		}
	}
	return fmt.Sprintf("ip daddr . %s dport @%s", protocol, name)
}

func protocolOf(given *corev1.Protocol) corev1.Protocol {
	if given == nil || *given == "" {
		return corev1.ProtocolTCP
	}
	return *given
}

func matches(selector *metav1.LabelSelector, of labels.Set) bool {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && compiled.Matches(of)
}

func chainOf(policy *networkingv1.NetworkPolicy, d direction) string {
	name := policy.Namespace + "/" + policy.Name
	if len(name) > longestName {
		name = digest(name)
	}
	return fmt.Sprintf("policy/%s/%s", name, d)
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:8])
}

func empty(text string) bool { return text == "" }
