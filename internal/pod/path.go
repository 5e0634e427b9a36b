package pod

import (
	"net/url"
	"strings"
)

// ExecPath returns the API path of exec in a pod, escaped, to be appended to
// the server's URL. Source: the API reference, PodExecOptions.
func ExecPath(namespace, pod string) string { return subresourcePath(namespace, pod, "exec") }

// AttachPath returns the API path of attach to a pod, escaped, to be appended
// to the server's URL. Source: the API reference, PodAttachOptions.
func AttachPath(namespace, pod string) string { return subresourcePath(namespace, pod, "attach") }

func subresourcePath(namespace, pod, name string) string {
	return "/api/v1/namespaces/" + escapeSegment(namespace) + "/pods/" + escapeSegment(pod) + "/" + name
}

// escapeSegment escapes one segment of a path. It also escapes "." and "..",
// which would otherwise name another path.
func escapeSegment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}
