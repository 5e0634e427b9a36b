package pod

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
)

// OS returns the operating system that the pod's spec requires: in spec.os, in
// its node selector, or in a node affinity that allows only one system. It
// returns "" if the spec requires no system.
func OS(p *corev1.Pod) corev1.OSName {
	if p.Spec.OS != nil {
		return p.Spec.OS.Name
	}
	if name := p.Spec.NodeSelector[corev1.LabelOSStable]; name != "" {
		return corev1.OSName(name)
	}
	affinity := p.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil {
		return ""
	}
	if required := affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution; required != nil {
		return requiredOS(required.NodeSelectorTerms)
	}
	return ""
}

// requiredOS returns the one system that all terms require, or "".
func requiredOS(terms []corev1.NodeSelectorTerm) corev1.OSName {
	names := map[string]bool{}
	for _, term := range terms {
		i := slices.IndexFunc(term.MatchExpressions, func(e corev1.NodeSelectorRequirement) bool {
			return e.Key == corev1.LabelOSStable && e.Operator == corev1.NodeSelectorOpIn && len(e.Values) == 1
		})
		if i < 0 {
			return ""
		}
		names[term.MatchExpressions[i].Values[0]] = true
	}
	for name := range names {
		if len(names) == 1 {
			return corev1.OSName(name)
		}
	}
	return ""
}

// NodeOS returns the operating system of the pod's node, from the label
// kubernetes.io/os that the kubelet sets. The user must be allowed to get
// nodes.
func (c *Client) NodeOS(ctx context.Context, p *corev1.Pod) (corev1.OSName, error) {
	name, node := p.Spec.NodeName, &corev1.Node{}
	if err := c.groups[""].Get().Resource("nodes").Name(name).Do(ctx).Into(node); err != nil {
		return "", fmt.Errorf("cannot get node %q: %w", name, apiclient.Plain(err))
	}
	return corev1.OSName(node.Labels[corev1.LabelOSStable]), nil
}
