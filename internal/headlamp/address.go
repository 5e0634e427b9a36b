package headlamp

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Address is the address of a Headlamp server, and of one of its clusters.
type Address struct {
	Base    string // the URL of the server, without a / at the end
	Cluster string // the name of the cluster, not escaped; "" if the text names none or several
}

// URL returns the address that takes the place of the address of the API server
// of a.Cluster.
func (a Address) URL() string { return a.Base + "/clusters/" + url.PathEscape(a.Cluster) }

// Parse reads an address as it is copied from a browser or a kubeconfig:
//
//	https://HOST/BASE
//	https://HOST/BASE/clusters/NAME
//	https://HOST/BASE/c/NAME/pods/NAMESPACE/POD?x=y
//	https://HOST/BASE/#/c/NAME/pods
//
// It ignores what follows the name. Without a scheme, the scheme is https. If
// the page shows several clusters (/c/A+B), Cluster is "". The errors do not
// contain credentials.
func Parse(text string) (Address, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Address{}, errors.New("the address is empty")
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil: // the error contains the text, which may contain a password
		return Address{}, errors.New("the address is not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return Address{}, fmt.Errorf("the address has the scheme %q, want https or http", u.Scheme)
	case u.User != nil:
		return Address{}, errors.New("the address must not contain a user or a password")
	case u.Hostname() == "":
		return Address{}, errors.New("the address has no host")
	}
	base, cluster, err := split(segments(u.EscapedPath()))
	if err == nil && cluster == "" {
		page, _, _ := strings.Cut(u.EscapedFragment(), "?")
		_, cluster, err = split(segments(page))
		base = slices.DeleteFunc(base, func(s string) bool { return s == "index.html" })
	}
	if err != nil {
		return Address{}, err
	}
	server := url.URL{Scheme: u.Scheme, Host: u.Host}
	return Address{Base: strings.Join(append([]string{server.String()}, base...), "/"), Cluster: cluster}, nil
}

// segments returns the segments of an escaped path that are not empty.
func segments(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" })
}

// split returns the segments of the base URL, and the name of the cluster or
// "".
func split(path []string) (base []string, cluster string, err error) {
	for i := afterProxy(path); i+1 < len(path); i++ {
		if path[i] != "clusters" && path[i] != "c" {
			continue
		}
		name, err := url.PathUnescape(path[i+1])
		switch {
		case err != nil, name == ".", name == "..":
			return nil, "", fmt.Errorf("the address has an invalid name of a cluster: %q", path[i+1])
		case path[i] == "c" && strings.Contains(path[i+1], "+"):
			name = "" // several clusters
		}
		return path[:i], name, nil
	}
	return path, "", nil
}

// afterProxy returns the number of segments up to the end of the path of a
// service proxy, .../namespaces/NAMESPACE/services/NAME/proxy, or 0 if path
// does not begin with one. The address of the API server that contains the
// proxy may have a segment "clusters", which does not belong to Headlamp.
func afterProxy(path []string) int {
	for i := 4; i < len(path); i++ {
		if path[i] == "proxy" && path[i-2] == "services" && path[i-4] == "namespaces" {
			return i + 1
		}
	}
	return 0
}

// MapName returns the name that Headlamp gives to the cluster of a context.
func MapName(context string) string {
	return strings.NewReplacer("/", "--", " ", "__").Replace(context)
}
