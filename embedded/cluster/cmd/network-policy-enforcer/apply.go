package main

import (
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/knftables"
)

const table = "dcm_network_policy"

// replace puts the whole table into a transaction, in place of whatever there is.
func replace(tx *knftables.Transaction, wanted ruleset) {
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("kept by network-policy-enforcer")})
	for _, hook := range []knftables.BaseChainHook{knftables.ForwardHook, knftables.InputHook} {
		tx.Add(&knftables.Chain{
			Name:     string(hook),
			Type:     knftables.PtrTo(knftables.FilterType),
			Hook:     knftables.PtrTo(hook),
			Priority: knftables.PtrTo(knftables.FilterPriority),
		})
	}
	change(tx, ruleset{chains: map[string][]string{"forward": nil, "input": nil}}, wanted)
}

// change puts what differs into a transaction, in the order that references ask for.
func change(tx *knftables.Transaction, present, wanted ruleset) {
	for _, name := range added(present.sets, wanted.sets) {
		if kind := wanted.sets[name].kind; isMap(kind) {
			tx.Add(&knftables.Map{Name: name, Type: kind})
		} else {
			tx.Add(&knftables.Set{Name: name, Type: kind})
		}
	}
	for _, name := range added(present.chains, wanted.chains) {
		tx.Add(&knftables.Chain{Name: name})
	}
	for _, name := range sorted(wanted.chains) {
		if old, there := present.chains[name]; there && slices.Equal(old, wanted.chains[name]) {
			continue
		}
		tx.Flush(&knftables.Chain{Name: name})
		for _, rule := range wanted.chains[name] {
			tx.Add(&knftables.Rule{Chain: name, Rule: rule})
		}
	}
	for _, name := range sorted(wanted.sets) {
		changeElements(tx, name, present.sets[name].elements, wanted.sets[name])
	}
	for _, name := range added(wanted.chains, present.chains) {
		tx.Flush(&knftables.Chain{Name: name})
	}
	for _, name := range added(wanted.chains, present.chains) {
		tx.Delete(&knftables.Chain{Name: name})
	}
	for _, name := range added(wanted.sets, present.sets) {
		tx.Delete(&knftables.Set{Name: name})
	}
}

func changeElements(tx *knftables.Transaction, name string, present map[string]string, wanted collection) {
	element := func(key, value string) *knftables.Element {
		found := &knftables.Element{Key: strings.Split(key, " . ")}
		if isMap(wanted.kind) {
			found.Map, found.Value = name, []string{value}
		} else {
			found.Set = name
		}
		return found
	}
	for _, key := range sorted(present) {
		if value, stays := wanted.elements[key]; !stays || value != present[key] {
			tx.Delete(element(key, present[key]))
		}
	}
	for _, key := range sorted(wanted.elements) {
		if value, there := present[key]; !there || value != wanted.elements[key] {
			tx.Add(element(key, wanted.elements[key]))
		}
	}
}

func isMap(kind string) bool { return strings.Contains(kind, " : ") }

// added names what is in the second map alone.
func added[V any](before, after map[string]V) []string {
	return slices.DeleteFunc(sorted(after), func(name string) bool { _, there := before[name]; return there })
}

func sorted[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }
