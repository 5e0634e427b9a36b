package node

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
)

// Client makes requests to the API server. It is safe for concurrent use.
type Client struct {
	core            rest.Interface
	ignoredSelector func() // see NewClient; may be nil
}

// NewClient returns a client. It sends no requests and does not change cfg.
// ignoredSelector, if not nil, is called each time the server answers a list
// request with objects that do not match its selector. Those objects are left
// out.
func NewClient(cfg *rest.Config, ignoredSelector func()) (*Client, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("cannot register the API's types: %w", err)
	}
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	cfg = rest.CopyConfig(cfg)
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.GroupVersion, cfg.APIPath = &corev1.SchemeGroupVersion, "/api"
	cfg.QPS = -1 // no throttling: a user waits for these few requests
	client, err := apiclient.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot use the configured connection: %w", err)
	}
	core, err := rest.RESTClientForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("cannot use the configured connection: %w", err)
	}
	return &Client{core, ignoredSelector}, nil
}

// LookupError means that a node, or the list of nodes, could not be read.
type LookupError struct {
	Name string // of the node; empty means the list
	Err  error
}

func (e *LookupError) Error() string {
	switch {
	case e.Name == "":
		return fmt.Sprintf("cannot list the nodes: %v", apiclient.Plain(e.Err))
	case e.NotFound():
		return fmt.Sprintf("there is no node %q", e.Name)
	}
	return fmt.Sprintf("cannot get node %q: %v", e.Name, apiclient.Plain(e.Err))
}

// NotFound reports whether the API server answered that the node does not
// exist.
func (e *LookupError) NotFound() bool { return apiclient.IsNotFound(e.Err, "nodes", e.Name) }

// Hint tells the user what to do, or returns "".
func (e *LookupError) Hint() string {
	switch hint := apiclient.Hint(e.Err); {
	case hint != "":
		return hint
	case e.NotFound():
		return "`kubectl get nodes` lists the nodes"
	case apierrors.IsForbidden(e.Err):
		return `ask for a cluster role with the rule {apiGroups: [""], resources: ["nodes"], verbs: ["get", "list"]}, ` +
			"or name the node"
	case apiclient.IsForeign(e.Err, "nodes", e.Name):
		return notKubernetes
	}
	return ""
}

// notKubernetes is the hint for a response that does not come from an API
// server.
const notKubernetes = "the server does not answer like a Kubernetes API server: check `server:` in the kubeconfig " +
	"(`kubectl config view --minify`), --server or --headlamp"

// Unwrap returns the API's error.
func (e *LookupError) Unwrap() error { return e.Err }

// Node returns a node. Errors are *LookupError.
func (c *Client) Node(ctx context.Context, name string) (*corev1.Node, error) {
	n := &corev1.Node{}
	if err := c.core.Get().Resource("nodes").Name(name).Do(ctx).Into(n); err != nil {
		return nil, &LookupError{name, err}
	}
	return n, nil
}

// Nodes returns the nodes that match a label selector, sorted by name. Errors
// are *LookupError.
func (c *Client) Nodes(ctx context.Context, selector string) ([]corev1.Node, error) {
	nodes, err := list(ctx, c, "nodes", "", selector, func(n *corev1.Node) labels.Set {
		n.ManagedFields, n.Status.Images, n.Status.VolumesInUse, n.Status.VolumesAttached = nil, nil, nil, nil
		return n.Labels
	}, func(n *corev1.Node) int { return n.Size() + int(unsafe.Sizeof(*n)) })
	if err != nil {
		return nil, &LookupError{"", err}
	}
	slices.SortFunc(nodes, func(a, b corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes, nil
}

// list returns the objects that match a label selector in a namespace, or in
// all namespaces if namespace is "". trim removes the fields of an object that
// are not used and returns its labels; size estimates its memory in bytes.
func list[T any](
	ctx context.Context, c *Client, resource, namespace, selector string, trim func(*T) labels.Set, size func(*T) int,
) ([]T, error) {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil, err
	}
	ignored := false
	items, _, err := apiclient.Lister[T]{
		Noun: resource,
		Request: func() *rest.Request {
			r := c.core.Get().Resource(resource)
			if namespace != "" {
				r = r.Namespace(namespace)
			}
			if !parsed.Empty() {
				r = r.Param("labelSelector", parsed.String())
			}
			return r
		},
		Keep: func(item *T) bool {
			matches := parsed.Matches(trim(item))
			ignored = ignored || !matches
			return matches
		},
		Size: size,
	}.List(ctx)
	if ignored && c.ignoredSelector != nil {
		c.ignoredSelector()
	}
	return items, err
}

// Create creates the pod and returns it as the server stored it. Errors are
// *CreateError.
func (c *Client) Create(ctx context.Context, p *corev1.Pod) (*corev1.Pod, error) {
	made := &corev1.Pod{}
	if err := c.core.Post().Namespace(p.Namespace).Resource("pods").Body(p).Do(ctx).Into(made); err != nil {
		return nil, newCreateError(p, err)
	}
	return made, nil
}

// Get returns a pod.
func (c *Client) Get(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	p := &corev1.Pod{}
	return p, c.core.Get().Namespace(namespace).Resource("pods").Name(name).Do(ctx).Into(p)
}

// Pods returns the pods that kshell created (see IsNodeShell) in a namespace,
// or in all namespaces if namespace is "". Errors are those of the API.
func (c *Client) Pods(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	return list(ctx, c, "pods", namespace, selector, func(p *corev1.Pod) labels.Set {
		p.ManagedFields = nil
		return p.Labels
	}, func(p *corev1.Pod) int { return p.Size() + int(unsafe.Sizeof(*p)+unsafe.Sizeof(corev1.Container{})) })
}

// IsNodeShell reports whether a pod has the labels that kshell sets on every
// pod that it creates.
func IsNodeShell(p *corev1.Pod) bool {
	return p.Labels[nameLabel] == nameValue && p.Labels[managerLabel] == managerValue
}

const (
	deletePause   = 500 * time.Millisecond // pause between two attempts to delete a pod
	deleteTimeout = 4 * time.Second        // time limit of one attempt
)

// Remove deletes the pod with the name and the UID of p. It retries transient
// failures until ctx ends. It returns nil if this pod no longer exists, even if
// another pod has its name.
func (c *Client) Remove(ctx context.Context, p *corev1.Pod) error {
	var last error
	for {
		err := c.remove(ctx, p)
		switch {
		case err == nil, apiclient.IsNotFound(err, "pods", p.Name), apiclient.IsConflict(err, "pods", p.Name):
			return nil
		case ctx.Err() != nil && last != nil:
			return last
		case ctx.Err() != nil || !apiclient.IsTransient(err):
			return err
		}
		last = err
		if !sleep(ctx, deletePause) {
			return last
		}
	}
}

func (c *Client) remove(ctx context.Context, p *corev1.Pod) error {
	options := metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: &metav1.Preconditions{UID: &p.UID},
	}
	r := c.core.Delete().Namespace(p.Namespace).Resource("pods").Name(p.Name).Timeout(deleteTimeout).Body(&options)
	return r.Do(ctx).Error()
}

// Log opens the log of the pod's container. If follow is set, the reader also
// returns what is printed later, until ctx ends.
func (c *Client) Log(ctx context.Context, p *corev1.Pod, from LogStart, follow bool) (io.ReadCloser, error) {
	r := c.core.Get().Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("log").
		Param("container", Container).Param("follow", strconv.FormatBool(follow))
	if !from.Since.IsZero() {
		r = r.Param("sinceTime", from.Since.UTC().Format(time.RFC3339))
	}
	if from.Tail > 0 {
		r = r.Param("tailLines", strconv.FormatInt(from.Tail, 10))
	}
	return r.Stream(apiclient.StreamContext(ctx))
}

// PrivilegedNamespaces returns the namespaces whose Pod Security label allows
// privileged pods, and the namespaces without this label. For unlabeled
// namespaces, the default of the cluster applies, which is privileged in most
// clusters.
func (c *Client) PrivilegedNamespaces(ctx context.Context) (labeled, unlabeled []string, err error) {
	namespaces, err := list(ctx, c, "namespaces", "", "", func(ns *corev1.Namespace) labels.Set {
		ns.ManagedFields, ns.Annotations = nil, nil
		return ns.Labels
	}, func(ns *corev1.Namespace) int { return ns.Size() + int(unsafe.Sizeof(*ns)) })
	if err != nil {
		return nil, nil, apiclient.Plain(err)
	}
	for _, ns := range namespaces {
		switch level, set := ns.Labels[enforceLabel]; {
		case ns.DeletionTimestamp != nil:
		case level == "privileged":
			labeled = append(labeled, ns.Name)
		case !set:
			unlabeled = append(unlabeled, ns.Name)
		}
	}
	return labeled, unlabeled, nil
}
