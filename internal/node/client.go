package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// Client makes the requests. It is safe for concurrent use.
type Client struct{ core rest.Interface }

// NewClient prepares a client; nothing is sent, and cfg is not changed.
func NewClient(cfg *rest.Config) (*Client, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("cannot register the API's types: %w", err)
	}
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	cfg = rest.CopyConfig(cfg)
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.GroupVersion, cfg.APIPath = &corev1.SchemeGroupVersion, "/api"
	cfg.QPS = -1 // a handful of requests on behalf of a person: no throttle
	core, err := rest.RESTClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot use the configured connection: %w", err)
	}
	return &Client{core}, nil
}

// LookError is a node that could not be asked for.
type LookError struct {
	Name string // empty: all of them
	Err  error
}

func (e *LookError) Error() string {
	switch {
	case e.Name == "":
		return fmt.Sprintf("cannot list the nodes: %v", e.Err)
	case e.Unknown():
		return fmt.Sprintf("there is no node %q", e.Name)
	}
	return fmt.Sprintf("cannot get node %q: %v", e.Name, e.Err)
}

// Unknown says whether there is no such node.
func (e *LookError) Unknown() bool { return e.Name != "" && apierrors.IsNotFound(e.Err) }

// Hint says what to type.
func (e *LookError) Hint() string {
	switch {
	case e.Unknown():
		return "kubectl get nodes shows those there are"
	case apierrors.IsForbidden(e.Err):
		return `ask for a cluster role with the rule {apiGroups: [""], resources: ["nodes"], verbs: ["get", "list"]}, or name the node`
	}
	return ""
}

// Unwrap gives the API's error.
func (e *LookError) Unwrap() error { return e.Err }

// Node asks for one node. Errors are *LookError.
func (c *Client) Node(ctx context.Context, name string) (*corev1.Node, error) {
	n := &corev1.Node{}
	if err := c.core.Get().Resource("nodes").Name(name).Do(ctx).Into(n); err != nil {
		return nil, &LookError{name, err}
	}
	return n, nil
}

// Nodes lists the nodes with these labels (a selector of kubectl's), by name. Errors are *LookError.
func (c *Client) Nodes(ctx context.Context, selector string) ([]corev1.Node, error) {
	list := &corev1.NodeList{}
	if err := c.list("nodes", "", selector).Do(ctx).Into(list); err != nil {
		return nil, &LookError{"", err}
	}
	slices.SortFunc(list.Items, func(a, b corev1.Node) int { return compare(a.Name, b.Name) })
	return list.Items, nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c *Client) list(resource, namespace, selector string) *rest.Request {
	r := c.core.Get().Resource(resource)
	if namespace != "" {
		r = r.Namespace(namespace)
	}
	if selector != "" {
		r = r.Param("labelSelector", selector)
	}
	return r
}

// Create makes the pod, and gives it as the server has it. Its errors are *CreateError.
func (c *Client) Create(ctx context.Context, p *corev1.Pod) (*corev1.Pod, error) {
	made := &corev1.Pod{}
	if err := c.core.Post().Namespace(p.Namespace).Resource("pods").Body(p).Do(ctx).Into(made); err != nil {
		return nil, newCreateError(p, err)
	}
	return made, nil
}

// Get asks for a pod.
func (c *Client) Get(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	p := &corev1.Pod{}
	return p, c.core.Get().Namespace(namespace).Resource("pods").Name(name).Do(ctx).Into(p)
}

// Pods lists our pods in a namespace, or in all ("").
func (c *Client) Pods(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	if err := c.list("pods", namespace, Selector).Do(ctx).Into(list); err != nil {
		return nil, fmt.Errorf("cannot list the pods of node shells: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !Ours(&p) }), nil
}

// Ours says whether a pod carries our labels.
func Ours(p *corev1.Pod) bool {
	return p.Labels[nameLabel] == nameValue && p.Labels[managerLabel] == managerValue
}

// again is the pause between two attempts to delete.
const again = 500 * time.Millisecond

// Remove deletes the pod, and no other under its name: its uid is the condition. While it cannot be done it is tried again, until the context
// ends; a refusal is final. A pod that is gone is no error.
func (c *Client) Remove(ctx context.Context, p *corev1.Pod) error {
	var last error
	for {
		err := c.remove(ctx, p)
		switch {
		case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err): // another one has the name
			return nil
		case ctx.Err() != nil && last != nil:
			return last
		case ctx.Err() != nil || !passing(err):
			return err
		}
		last = err
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return last
		}
	}
}

func (c *Client) remove(ctx context.Context, p *corev1.Pod) error {
	options := metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: &metav1.Preconditions{UID: &p.UID},
	}
	return c.core.Delete().Namespace(p.Namespace).Resource("pods").Name(p.Name).Timeout(removing).Body(&options).Do(ctx).Error()
}

// removing bounds one attempt to delete.
const removing = 4 * time.Second

// passing is a failure that may be over at the next try: of the link, or of a server in trouble.
func passing(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	code := status.Status().Code
	return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
}

// Log opens what the shell has printed so far; follow: until the context ends, what it prints from now on as well.
func (c *Client) Log(ctx context.Context, p *corev1.Pod, from From, follow bool) (io.ReadCloser, error) {
	r := c.core.Get().Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("log").
		Param("container", Container).Param("follow", strconv.FormatBool(follow))
	if !from.Since.IsZero() {
		r = r.Param("sinceTime", from.Since.UTC().Format(time.RFC3339))
	}
	if from.Tail > 0 {
		r = r.Param("tailLines", strconv.FormatInt(from.Tail, 10))
	}
	return r.Stream(ctx)
}

// Allowing lists the namespaces in which Pod Security allows such pods: those that say so, and those that say nothing and leave it to the
// cluster, which mostly allows it.
func (c *Client) Allowing(ctx context.Context) (say, silent []string, err error) {
	list := &corev1.NamespaceList{}
	if err := c.list("namespaces", "", "").Do(ctx).Into(list); err != nil {
		return nil, nil, err
	}
	for _, ns := range list.Items {
		switch level, set := ns.Labels[enforceLabel]; {
		case ns.DeletionTimestamp != nil:
		case level == "privileged":
			say = append(say, ns.Name)
		case !set:
			silent = append(silent, ns.Name)
		}
	}
	return say, silent, nil
}
