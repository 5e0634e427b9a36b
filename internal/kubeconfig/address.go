package kubeconfig

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/script"
)

// location identifies where a value is set: in a field of an entry of the
// kubeconfig, or by a flag.
type location struct {
	field string // "proxy-url", or "--proxy-url"
	entry string // `cluster "east" in kubeconfig /home/ann/.kube/config`; "" for a flag
}

// String returns the name of the value, for messages.
func (p location) String() string {
	if p.entry == "" {
		return p.field
	}
	return p.field + " of " + p.entry
}

// clusterField returns the location of a field of a cluster.
func (f *Flags) clusterField(raw *clientcmdapi.Config, files sources, field string) location {
	name := f.clusterName(raw)
	return location{field, entryOf("cluster", name, raw.Clusters[name].LocationOfOrigin, files)}
}

// userField returns the location of a field of a user.
func (f *Flags) userField(raw *clientcmdapi.Config, files sources, field string) location {
	name := f.userName(raw)
	return location{field, entryOf("user", name, raw.AuthInfos[name].LocationOfOrigin, files)}
}

// podAccount is the entry of a location in the service account of the pod.
const podAccount = "the service account of this pod"

// entryOf describes an entry of the kubeconfig. kind is "cluster" or "user".
// file is the file that contains the entry; if it is "", entryOf names all
// files.
func entryOf(kind, name, file string, files sources) string {
	if name == InCluster {
		return podAccount
	}
	if file == "" {
		file = files.String()
	}
	return fmt.Sprintf("%s %q in kubeconfig %s", kind, name, file)
}

// describeAddress describes an address for an error message. shown is the part
// of the address that the message may contain: it has no user info and no
// query, and no port that is not a number, because such a port may be part of a
// password. problem says what is wrong with the address, or is "". bracketed is
// the corrected address if the problem is an IPv6 address without brackets.
func describeAddress(value string, schemes ...string) (shown, problem, bracketed string) {
	trimmed := strings.TrimSpace(value)
	prefix, rest := "", trimmed
	if scheme, after, ok := strings.Cut(trimmed, "://"); ok && isScheme(scheme) {
		prefix, rest = scheme+"://", after
	}
	// User info that is not escaped properly may contain any character.
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	rest, _, _ = strings.Cut(rest, "?")
	host, _, _ := strings.Cut(rest, "/")
	name, badPort := splitBadPort(host)
	scheme := strings.ToLower(strings.TrimSuffix(prefix, "://"))
	switch bracketed := bracket(host); {
	case trimmed != value:
		return prefix + name, "begins or ends with a space", ""
	case prefix != "" && !slices.Contains(schemes, scheme):
		return prefix + name, fmt.Sprintf("has the scheme %q, and not %s", scheme, strings.Join(schemes, " or ")), ""
	case prefix != "" && host == "":
		return prefix, "has no host", ""
	case bracketed != "":
		return host, "is an IPv6 address without brackets", prefix + bracketed
	case badPort:
		return prefix + name, "has an invalid port", ""
	}
	if u, err := url.Parse(prefix + rest); prefix != "" && (err != nil || u.Host == "") {
		return prefix + host, "is not a URL", ""
	}
	if prefix == "" {
		return rest, "", ""
	}
	return prefix + host, "", ""
}

// isScheme reports whether s is the scheme of a URL (RFC 3986, 3.1).
func isScheme(s string) bool {
	for i, c := range s {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && !strings.ContainsRune("+.-", c)) {
			return false
		}
	}
	return s != ""
}

// splitBadPort removes the port from host if the port is not a number of up to
// 16 bits. bad reports whether it did that.
func splitBadPort(host string) (name string, bad bool) {
	name, port, _ := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") {
		i := strings.IndexByte(host, ']') + 1
		name, port = host[:i], strings.TrimPrefix(host[i:], ":")
	}
	if _, err := strconv.ParseUint(port, 10, 16); port != "" && err != nil {
		return name, true
	}
	return host, false
}

// bracket returns an IPv6 address with brackets, or "" if host is not an IPv6
// address without brackets. If the last part is a decimal number, and the rest
// is an address without it, the number is taken as the port.
func bracket(host string) string {
	i := strings.LastIndexByte(host, ':')
	if strings.Count(host, ":") < 2 || strings.HasPrefix(host, "[") {
		return ""
	}
	_, portErr := strconv.ParseUint(host[i+1:], 10, 16)
	if _, err := netip.ParseAddr(host[:i]); err == nil && portErr == nil {
		return "[" + host[:i] + "]:" + host[i+1:]
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "[" + host + "]"
	}
	return ""
}

// serverLocation returns the server's address and where it is set.
func (f *Flags) serverLocation(raw *clientcmdapi.Config, files sources) (string, location) {
	if f.Server != "" {
		return f.Server, location{field: cmp.Or(f.serverSource, "--server")}
	}
	return raw.Clusters[f.clusterName(raw)].Server, f.clusterField(raw, files, "server")
}

// checkServer returns an error if the server's address cannot be used.
func (f *Flags) checkServer(raw *clientcmdapi.Config, files sources) error {
	value, where := f.serverLocation(raw, files)
	shown, problem, bracketed := describeAddress(value, "https", "http")
	if problem == "" {
		return nil
	}
	return badServer(where, f.clusterName(raw), shown, problem, bracketed)
}

func badServer(where location, cluster, shown, problem, bracketed string) error {
	e := &Error{
		Kind: Invalid,
		text: fmt.Sprintf("%s cannot be used: %q %s", where, shown, problem),
	}
	if bracketed == "" {
		bracketed = "https://HOST:PORT"
	} else if !strings.Contains(bracketed, "://") {
		bracketed = "https://" + bracketed
	}
	e.hint = "write it as --server " + bracketed
	if where.entry != "" {
		e.hint = fmt.Sprintf("type `kubectl config set-cluster %s --server=%s`", script.Quote(cluster), bracketed)
	}
	return e
}

// checkProxy returns an error if the address of the proxy cannot be used.
func (f *Flags) checkProxy(raw *clientcmdapi.Config, files sources) error {
	value, where := f.ProxyURL, location{field: "--proxy-url"}
	if cluster := raw.Clusters[f.clusterName(raw)]; value == "" && cluster != nil {
		value, where = cluster.ProxyURL, f.clusterField(raw, files, "proxy-url")
	}
	if value == "" {
		return nil
	}
	shown, problem, bracketed := describeAddress(value, "http", "https", "socks5")
	if problem == "" && !strings.Contains(value, "://") {
		problem = "has no scheme such as http://"
	}
	if problem == "" {
		return nil
	}
	return badProxy(where, f.clusterName(raw), shown, problem, bracketed)
}

func badProxy(where location, cluster, shown, problem, bracketed string) error {
	proxy := "http://HOST:PORT"
	if strings.Contains(bracketed, "://") {
		proxy = bracketed
	}
	note := ""
	if strings.HasPrefix(shown, "socks5h://") {
		proxy, note = "socks5://HOST:PORT", "; with socks5, the proxy resolves names, as with socks5h in other programs"
	}
	if where.entry == "" {
		return &Error{
			Kind: Usage,
			text: fmt.Sprintf("%s is not an http, https or socks5 URL: %q %s", where, shown, problem),
			hint: "write it as --proxy-url=" + proxy + note,
		}
	}
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("%s is not an http, https or socks5 URL: %q %s", where, shown, problem),
		hint: fmt.Sprintf("type `kubectl config set-cluster %s --proxy-url=%s`", script.Quote(cluster), proxy) + note,
	}
}
