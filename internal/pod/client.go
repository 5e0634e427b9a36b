package pod

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// Client asks the API server for pods and for what has pods. It is safe for
// concurrent use.
type Client struct {
	// Events carries watches in the caller's way, if it is set (before the first
	// request) and can: it asks the server for path and query (see WatchPath), gives
	// each event to each, and returns when ctx, the server or an error of each ends
	// it. False: the server did not begin, which plain HTTP is then tried for.
	Events func(ctx context.Context, path string, query url.Values, each func(event []byte) error) bool

	groups map[string]rest.Interface // by API group, "" being core
}

// NewClient prepares a client; nothing is sent. cfg is not changed, and its
// Timeout, if any, holds for each request. Where cfg has no WarningHandler the
// server's warnings are dropped.
func NewClient(cfg *rest.Config) (*Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("cannot register the API's types: %w", err)
		}
	}
	cfg = rest.CopyConfig(cfg)
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.QPS = -1 // a handful of requests on behalf of a person: no throttle
	if cfg.WarningHandler == nil && cfg.WarningHandlerWithContext == nil {
		cfg.WarningHandler = rest.NoWarnings{}
	}
	shared, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot use the configured connection: %w", err)
	}
	client := &Client{groups: map[string]rest.Interface{}}
	for _, version := range []schema.GroupVersion{corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion, batchv1.SchemeGroupVersion} {
		cfg.GroupVersion, cfg.APIPath = &version, "/apis"
		if version.Group == "" {
			cfg.APIPath = "/api"
		}
		client.groups[version.Group], err = rest.RESTClientForConfigAndClient(cfg, shared)
		if err != nil {
			return nil, fmt.Errorf("cannot use the configured server: %w", err)
		}
	}
	return client, nil
}

// Get asks for one pod. Every error is a *RequestError.
func (c *Client) Get(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	if err := c.get(ctx, namespace, Target{Kind: kindPod, Name: name}, pod); err != nil {
		return nil, err
	}
	return pod, nil
}

func (c *Client) get(ctx context.Context, namespace string, target Target, into runtime.Object) error {
	kind, _ := lookUp(target.Kind)
	err := c.groups[kind.group].Get().Namespace(namespace).Resource(kind.resource).Name(target.Name).Do(ctx).Into(into)
	if err != nil {
		return &RequestError{Verb: "get", Resource: kind.resource, Namespace: namespace, Target: target, Err: err}
	}
	return nil
}

// chunk is how many pods are asked for at a time (limit, continue).
const chunk = 500

// list gives all pods that the selector matches, "" being all, and the version
// from which a watch goes on. Every error is a *RequestError.
func (c *Client) list(ctx context.Context, namespace, selector string) (pods []corev1.Pod, version string, err error) {
	limit, next := chunk, ""
	for {
		page := &corev1.PodList{}
		err := c.page(namespace, selector, limit, next).Do(ctx).Into(page)
		switch {
		case next != "" && expired(err): // too slow for the server: now all in one answer
			pods, limit, next = nil, 0, ""
			continue
		case err != nil:
			return nil, "", &RequestError{Verb: "list", Resource: "pods", Namespace: namespace, Target: Target{Kind: kindPod}, Err: err}
		}
		pods = append(pods, page.Items...)
		if next = page.Continue; next == "" {
			return pods, page.ResourceVersion, nil
		}
	}
}

func (c *Client) page(namespace, selector string, limit int, next string) *rest.Request {
	r := c.groups[""].Get().Namespace(namespace).Resource("pods")
	if selector != "" {
		r = r.Param("labelSelector", selector)
	}
	if limit > 0 {
		r = r.Param("limit", strconv.Itoa(limit))
	}
	if next != "" {
		r = r.Param("continue", next)
	}
	return r
}
