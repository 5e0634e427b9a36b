package kinds

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/node"
)

const none = "<none>" // as kubectl shows an empty value

func coreKinds() []Kind {
	return []Kind{
		{
			Name: "pod", Resource: "pods", Namespaced: true, short: []string{"po"},
			header: []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE"}, wide: []string{"IP", "NODE"},
			row: rowOf(podRow), ready: readyIf(podReady),
		},
		{
			Name: "node", Resource: "nodes", short: []string{"no"},
			header: []string{"NAME", "STATUS", "ROLES", "AGE", "VERSION"},
			wide:   []string{"INTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"},
			row:    rowOf(nodeRow), ready: readyIf(isReady),
		},
		{
			Name: "event", Resource: "events", Namespaced: true, short: []string{"ev"},
			header: []string{"LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"}, wide: []string{"SOURCE", "COUNT", "NAME"},
			row: rowOf(eventRow),
		},
		{
			Name: "namespace", Resource: "namespaces", short: []string{"ns"}, header: []string{"NAME", "STATUS", "AGE"},
			row: rowOf(func(n *corev1.Namespace, now time.Time) row {
				return row{cells: []string{n.Name, string(n.Status.Phase), age(n.CreationTimestamp, now)}}
			}),
			ready: readyIf(func(n *corev1.Namespace) bool { return n.Status.Phase == corev1.NamespaceActive }),
		},
		{
			Name: "service", Resource: "services", Namespaced: true, short: []string{"svc"},
			header: []string{"NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"}, wide: []string{"SELECTOR"},
			row: rowOf(serviceRow), ready: readyIf(serviceReady),
		},
	}
}

func podRow(p *corev1.Pod, now time.Time) row {
	total, ready, restarts := len(p.Spec.Containers), 0, int32(0)
	for _, c := range p.Spec.InitContainers {
		if isSidecar(p, c.Name) {
			total++
		}
	}
	for _, c := range p.Status.InitContainerStatuses {
		if !isSidecar(p, c.Name) {
			continue
		}
		restarts += c.RestartCount
		if c.Ready {
			ready++
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		restarts += c.RestartCount
		if c.Ready {
			ready++
		}
	}
	return row{
		cells: []string{
			p.Name, fmt.Sprintf("%d/%d", ready, total), podStatus(p), strconv.Itoa(int(restarts)),
			age(p.CreationTimestamp, now),
		},
		wide: []string{cmp.Or(p.Status.PodIP, none), cmp.Or(p.Spec.NodeName, none)},
	}
}

// podReady reports whether the condition Ready of p is true, and p is not being
// deleted.
func podReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func nodeRow(n *corev1.Node, now time.Time) row {
	info := n.Status.NodeInfo
	ip := none
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			ip = a.Address
			break
		}
	}
	return row{
		cells: []string{n.Name, NodeStatus(n), NodeRoles(n), age(n.CreationTimestamp, now), info.KubeletVersion},
		wide: []string{
			ip, cmp.Or(info.OSImage, none), cmp.Or(info.KernelVersion, none), cmp.Or(info.ContainerRuntimeVersion, none),
		},
	}
}

// isReady reports whether the condition Ready of n is true.
func isReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// NodeStatus returns a node's status as kubectl get shows it.
func NodeStatus(n *corev1.Node) string {
	status := "Ready"
	if node.NotReady(n) != "" {
		status = "NotReady"
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

// NodeRoles returns the roles in a node's labels as kubectl get shows them.
func NodeRoles(n *corev1.Node) string {
	var roles []string
	for label, value := range n.Labels {
		switch role, ok := strings.CutPrefix(label, "node-role.kubernetes.io/"); {
		case ok && role != "":
			roles = append(roles, role)
		case label == "kubernetes.io/role" && value != "":
			roles = append(roles, value)
		}
	}
	if len(roles) == 0 {
		return none
	}
	slices.Sort(roles)
	return strings.Join(slices.Compact(roles), ",")
}

func eventRow(e *corev1.Event, now time.Time) row {
	seen := metav1.Time{Time: e.EventTime.Time}
	if !e.LastTimestamp.IsZero() {
		seen = e.LastTimestamp
	}
	count := max(e.Count, 1)
	if e.Series != nil {
		seen, count = metav1.Time{Time: e.Series.LastObservedTime.Time}, max(e.Series.Count, 1)
	}
	if seen.IsZero() {
		seen = e.CreationTimestamp
	}
	source := cmp.Or(e.Source.Component, e.ReportingController, none)
	if host := cmp.Or(e.Source.Host, e.ReportingInstance); host != "" {
		source += ", " + host
	}
	return row{
		cells: []string{
			age(seen, now), e.Type, e.Reason, strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name,
			strings.TrimSpace(e.Message),
		},
		wide: []string{source, strconv.Itoa(int(count)), e.Name},
	}
}

func serviceRow(s *corev1.Service, now time.Time) row {
	var ports []string
	for _, p := range s.Spec.Ports {
		port := strconv.Itoa(int(p.Port))
		if p.NodePort != 0 {
			port += ":" + strconv.Itoa(int(p.NodePort))
		}
		ports = append(ports, port+"/"+string(cmp.Or(p.Protocol, corev1.ProtocolTCP)))
	}
	return row{
		cells: []string{
			s.Name, string(cmp.Or(s.Spec.Type, corev1.ServiceTypeClusterIP)), cmp.Or(s.Spec.ClusterIP, none), externalIP(s),
			cmp.Or(strings.Join(ports, ","), none), age(s.CreationTimestamp, now),
		},
		wide: []string{selector(s.Spec.Selector)},
	}
}

// externalIP returns the addresses at which a service can be reached from
// outside the cluster.
func externalIP(s *corev1.Service) string {
	var addresses []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		addresses = append(addresses, cmp.Or(i.IP, i.Hostname))
	}
	addresses = append(addresses, s.Spec.ExternalIPs...)
	switch {
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	case len(addresses) > 0:
		return strings.Join(addresses, ",")
	case s.Spec.Type == corev1.ServiceTypeLoadBalancer:
		return "<pending>"
	}
	return none
}

// serviceReady reports whether a service of type LoadBalancer has an external
// address. Services of other types are always ready.
func serviceReady(s *corev1.Service) bool {
	return s.Spec.Type != corev1.ServiceTypeLoadBalancer || len(s.Status.LoadBalancer.Ingress) > 0
}

// selector returns labels as users type them: "app=web,tier=front".
func selector(labels map[string]string) string {
	var pairs []string
	for key, value := range labels {
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	return cmp.Or(strings.Join(pairs, ","), none)
}
