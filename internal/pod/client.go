package pod

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unsafe"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
)

// Options are the optional settings of a Client.
type Options struct {
	// RunWatch, if not nil, runs a watch, for example over a WebSocket. It
	// requests path with query and passes every event to the function each. It
	// returns true after the watch has ended because ctx ended, the server
	// ended the watch, or the function each returned an error. It returns false
	// if the watch could not start; the client then starts it over plain HTTP.
	RunWatch func(ctx context.Context, path string, query url.Values, each func(event []byte) error) bool

	// OnSelectorIgnored, if not nil, is called each time the server answers a
	// list or a watch with objects that do not match its selector. The client
	// drops those objects.
	OnSelectorIgnored func()
}

// Client requests pods, and the objects that have pods, from the API server. It
// is safe for concurrent use, if the functions in its Options are.
type Client struct {
	options Options
	server  string                    // the URL of the server, without user info
	http    *http.Client              // used by groups
	groups  map[string]rest.Interface // by API group; "" is the core group
}

// accept is the value of the header Accept of a request for one object. It prefers
// protobuf: decoding the first pod from JSON takes more than a millisecond, because
// the JSON decoder first examines all types that a pod can contain.
const accept = runtime.ContentTypeProtobuf + ", " + runtime.ContentTypeJSON

// NewClient returns a client. It sends no request and does not change cfg.
// It requests single objects in protobuf, but not if the server's address has a
// path: such a server is a gateway, and its cache may support only text.
// cfg.Timeout, or apiclient.DefaultTimeout if cfg.Timeout is 0, limits each
// request. If cfg has no handler for warnings, warnings from the server are
// dropped.
func NewClient(cfg *rest.Config, options Options) (*Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("cannot register the API's types: %w", err)
		}
	}
	cfg = rest.CopyConfig(cfg)
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.QPS = -1 // no limit: a command makes only a few requests
	if cfg.WarningHandler == nil && cfg.WarningHandlerWithContext == nil {
		cfg.WarningHandler = rest.NoWarnings{}
	}
	shared, err := apiclient.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot use the configured connection: %w", err)
	}
	address, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot use the configured server: %w", err)
	}
	address.User = nil
	if strings.Trim(address.Path, "/") == "" {
		cfg.AcceptContentTypes = accept
	}
	client := &Client{options: options, server: address.String(), http: shared, groups: map[string]rest.Interface{}}
	versions := []schema.GroupVersion{corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion, batchv1.SchemeGroupVersion}
	for _, version := range versions {
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

// CloseIdleConnections makes the next request open a new connection to the
// server, if no other request is in progress.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Get requests one pod. Every error is a *RequestError.
func (c *Client) Get(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	if err := c.get(ctx, namespace, Target{Kind: kindPod, Name: name}, pod); err != nil {
		return nil, err
	}
	return pod, nil
}

func (c *Client) get(ctx context.Context, namespace string, target Target, into runtime.Object) error {
	kind, _ := findKind(target.Kind)
	request := c.groups[kind.group].Get().Namespace(namespace).Resource(kind.resource).Name(target.Name)
	if err := request.Do(ctx).Into(into); err != nil {
		return &RequestError{
			Verb: "get", Resource: kind.resource, Namespace: namespace, Target: target, Server: c.server, Err: err,
		}
	}
	return nil
}

// list returns all pods that the selector matches, and the resourceVersion from
// which a watch can start. Every error is a *RequestError.
func (c *Client) list(
	ctx context.Context, namespace string, selector labels.Selector,
) (pods []corev1.Pod, version string, err error) {
	ignored := false
	pods, version, err = apiclient.Lister[corev1.Pod]{
		Noun: "pods",
		Request: func() *rest.Request {
			r := c.groups[""].Get().Namespace(namespace).Resource("pods")
			if !selector.Empty() {
				r = r.Param("labelSelector", selector.String())
			}
			return r
		},
		Keep: func(pod *corev1.Pod) bool {
			if !selector.Matches(labels.Set(pod.Labels)) {
				ignored = true
				return false
			}
			trimPod(pod)
			return true
		},
		Size: podSize,
	}.List(ctx)
	if ignored {
		c.selectorIgnored()
	}
	if err != nil {
		return nil, "", &RequestError{
			Verb: "list", Resource: "pods", Namespace: namespace, Target: Target{Kind: kindPod}, Server: c.server, Err: err,
		}
	}
	return pods, version, nil
}

func (c *Client) selectorIgnored() {
	if c.options.OnSelectorIgnored != nil {
		c.options.OnSelectorIgnored()
	}
}

// trimPod removes the fields of a listed pod that neither this package nor its
// callers use. They make up most of the pod's size.
func trimPod(pod *corev1.Pod) {
	pod.ManagedFields = nil
	if a := pod.Spec.Affinity; a != nil {
		pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: a.NodeAffinity} // the function OS uses it
	}
	pod.Spec.Volumes, pod.Spec.Tolerations = nil, nil
	pod.Spec.TopologySpreadConstraints, pod.Spec.HostAliases, pod.Spec.ResourceClaims = nil, nil, nil
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			*c = corev1.Container{Name: c.Name, Image: c.Image, RestartPolicy: c.RestartPolicy}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		c.EphemeralContainerCommon = corev1.EphemeralContainerCommon{Name: c.Name, Image: c.Image}
	}
	for _, statuses := range [][]corev1.ContainerStatus{
		pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for i := range statuses {
			s := &statuses[i]
			s.Resources, s.AllocatedResources, s.AllocatedResourcesStatus = nil, nil, nil
			s.VolumeMounts, s.User = nil, nil
		}
	}
}

// podSize estimates the memory that a pod takes, in bytes.
func podSize(pod *corev1.Pod) int {
	containers := len(pod.Spec.InitContainers) + len(pod.Spec.Containers) + len(pod.Spec.EphemeralContainers)
	statuses := len(pod.Status.InitContainerStatuses) + len(pod.Status.ContainerStatuses) +
		len(pod.Status.EphemeralContainerStatuses)
	return pod.Size() + int(unsafe.Sizeof(*pod)) + containers*int(unsafe.Sizeof(corev1.Container{})) +
		statuses*int(unsafe.Sizeof(corev1.ContainerStatus{}))
}
