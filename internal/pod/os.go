package pod

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// OS is the operating system that the pod says it is for: by its field, its node selector, or an affinity to nodes of one system only (which is
// how pods get to Windows nodes); empty if it says nothing.
func OS(p *corev1.Pod) corev1.OSName {
	if p.Spec.OS != nil {
		return p.Spec.OS.Name
	}
	if name := p.Spec.NodeSelector[corev1.LabelOSStable]; name != "" {
		return corev1.OSName(name)
	}
	if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		return requiredOS(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms)
	}
	return ""
}

// required is the one system that all terms ask for.
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

// NodeOS is the operating system of the pod's node, by the label that each kubelet gives its node. It needs the right to get
// nodes.
func (c *Client) NodeOS(ctx context.Context, p *corev1.Pod) (corev1.OSName, error) {
	name, node := p.Spec.NodeName, &corev1.Node{}
	if err := c.groups[""].Get().Resource("nodes").Name(name).Do(ctx).Into(node); err != nil {
		return "", fmt.Errorf("cannot get node %q: %w", name, stripRequest(err))
	}
	return corev1.OSName(node.Labels[corev1.LabelOSStable]), nil
}
