package pod

import (
	"net/url"
	"strings"
)

// ExecPath is the API path of exec in a pod, escaped, to be appended to the
// server's URL. Source: the API reference, PodExecOptions.
func ExecPath(namespace, pod string) string { return subresourcePath(namespace, pod, "exec") }

// AttachPath is the API path of attach to a pod, escaped, to be appended to the
// server's URL. Source: the API reference, PodAttachOptions.
func AttachPath(namespace, pod string) string { return subresourcePath(namespace, pod, "attach") }

func subresourcePath(namespace, pod, name string) string {
	return "/api/v1/namespaces/" + escapeSegment(namespace) + "/pods/" + escapeSegment(pod) + "/" + name
}

// segment escapes one segment of a path, dots alone included: they would climb.
func escapeSegment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}
