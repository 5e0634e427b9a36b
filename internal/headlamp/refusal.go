package headlamp

import (
	"cmp"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// Kind is the reason for a Refusal.
type Kind int

// The kinds of refusals. The last two are not answers of a server: they concern
// the choice of a cluster.
const (
	UnknownCluster Kind = iota + 1 // 404 "key not found"
	APIServerDown                  // 502 without a body
	DesktopOnly                    // 403 "access denied"
	WrongHost                      // 403 "invalid Host header"
	Anonymous                      // 403 of the API server for system:anonymous
	Unauthorized                   // 401 of the API server
	NotHeadlamp                    // 404 "404 page not found", or an unexpected answer to BASE/config
	WebPage                        // a web page or a redirect
	NeedsTLS                       // 400 of an HTTPS server
	NoUpgrade                      // 400 of the API server: a proxy has removed the header Upgrade
	TooLarge                       // 413, 414 or 431 for a request with an uploaded kubeconfig

	NotStateless    // the server does not accept clusters of its users
	SeveralClusters // no cluster is named, and there is not exactly one
)

// Refusal means that Headlamp or a proxy in front of it refused a request. It
// also describes those refusals of the API server that have another message or
// hint if the connection is through Headlamp. The names in it may contain
// control characters.
type Refusal struct { //nolint:errname // named like stream.Refusal
	Kind    Kind
	Base    string   // the URL of the Headlamp server
	Cluster string   // the name of the cluster; may be ""
	Code    int      // the HTTP status code, or 0
	Known   []string // names of clusters of the server, as far as they are known

	unverified bool // see Route.Unverified
	stateless  bool // the cluster was uploaded
	gated      bool // the request had a token of the desktop app
	oidc       bool // Headlamp logs in to the cluster by OpenID Connect
	connected  bool // the server has served the cluster before
}

// Error returns what was refused, and by which server.
func (r *Refusal) Error() string {
	switch r.Kind {
	case UnknownCluster:
		return fmt.Sprintf("Headlamp at %s knows no cluster %q", r.Base, r.Cluster)
	case APIServerDown:
		return fmt.Sprintf("Headlamp cannot reach the API server of cluster %q", r.Cluster)
	case DesktopOnly:
		return "this Headlamp takes requests from its desktop app only"
	case WrongHost:
		return "Headlamp on loopback answers only under its own port"
	case Anonymous:
		return fmt.Sprintf("no credentials reached cluster %q", r.Cluster)
	case Unauthorized:
		return "the cluster does not know these credentials"
	case NotHeadlamp:
		return fmt.Sprintf("there is no Headlamp at %s", r.Base)
	case WebPage:
		return fmt.Sprintf("a web page answered at %s, not Headlamp's API", r.Base)
	case NeedsTLS:
		return fmt.Sprintf("the server at %s expects HTTPS", r.Base)
	case NoUpgrade:
		return fmt.Sprintf("a proxy in front of Headlamp at %s passes no WebSockets", r.Base)
	case TooLarge:
		return fmt.Sprintf("the uploaded context is too large for a proxy in front of Headlamp (%d)", r.Code)
	case NotStateless:
		return "this Headlamp takes no clusters of its users"
	case SeveralClusters:
		if len(r.Known) == 0 {
			return fmt.Sprintf("Headlamp at %s has no clusters", r.Base)
		}
		return fmt.Sprintf("which of the %d clusters of %s is meant?", len(r.Known), r.Base)
	}
	return fmt.Sprintf("Headlamp at %s refused the request (%d)", r.Base, r.Code)
}

// Hint tells the user what to check or to type. It may be "".
func (r *Refusal) Hint() string {
	switch r.Kind {
	case UnknownCluster:
		if r.stateless {
			return r.forgotten()
		}
		if r.unverified {
			return r.inKubeconfig()
		}
		return r.names()
	case APIServerDown:
		return "`kshell clusters --check` shows which clusters answer"
	case DesktopOnly:
		if r.gated {
			return "the token in KSHELL_HEADLAMP_TOKEN or --headlamp-token-file is not that of the desktop app, " +
				"which makes a new token each time it starts"
		}
		return "set KSHELL_HEADLAMP_TOKEN to the token of the desktop app, or name a file that contains it " +
			"with --headlamp-token-file"
	case WrongHost:
		return "forward that port: `ssh -L PORT:127.0.0.1:PORT HOST`, with the same PORT on both sides"
	case Anonymous:
		return "type --token TOKEN, or select a context with a user (--context, --user)"
	case Unauthorized:
		if r.oidc {
			return "log in again with the login command of your cluster: Headlamp logs in to this cluster by OpenID Connect, " +
				"and kshell cannot use the login of the browser"
		}
		return "log in again, or select other credentials with --context, --user or --token"
	case NotHeadlamp:
		return "if Headlamp has a base URL, the address needs it: https://HOST/BASE"
	case WebPage:
		return "copy the address of a page of Headlamp from the browser to --headlamp; if a login proxy is in front of " +
			"Headlamp, kshell cannot pass its login page"
	case NeedsTLS:
		return "its address must begin with https://"
	case NoUpgrade:
		return "for nginx, add these two lines to its location (and proxy_http_version 1.1, if nginx is old):\n" +
			"proxy_set_header Upgrade $http_upgrade;\n" +
			"proxy_set_header Connection \"upgrade\";"
	case TooLarge:
		return "use one of the server's own clusters with --headlamp-cluster"
	case NotStateless, SeveralClusters:
		return r.names()
	}
	return ""
}

const maxNames = 10 // in a hint

// names returns the hint that lists the clusters of the server.
func (r *Refusal) names() string {
	if len(r.Known) == 0 {
		return ""
	}
	return "type --headlamp-cluster with one of: " + r.list()
}

// inKubeconfig is like names, for a name of a cluster that comes from the
// address of a server in the kubeconfig.
func (r *Refusal) inKubeconfig() string {
	const hint = "correct the end of `server:` in the kubeconfig (`kubectl config view --minify`), or of --server"
	if len(r.Known) == 0 {
		return hint
	}
	return hint + "; its clusters: " + r.list()
}

// forgotten returns the hint if the server does not know the uploaded context.
func (r *Refusal) forgotten() string {
	const hint = "it has forgotten the uploaded context: type the command again, which uploads it again"
	if len(r.Known) == 0 {
		return hint
	}
	return hint + "; if the server no longer accepts uploads, type --headlamp-stateless=never --headlamp-cluster " +
		"with one of: " + r.list()
}

// list returns the first names of the clusters.
func (r *Refusal) list() string {
	shown := r.Known[:min(len(r.Known), maxNames)]
	list := strings.Join(shown, ", ")
	if more := len(r.Known) - len(shown); more > 0 {
		list += fmt.Sprintf(" (and %d more)", more)
	}
	return list
}

// Permanent reports whether the same request would be refused again. Headlamp
// loses its clusters for a moment while its kubeconfig is being written, so an
// unknown cluster is not permanent if the server has served it before.
func (r *Refusal) Permanent() bool {
	switch r.Kind {
	case APIServerDown:
		return false
	case UnknownCluster:
		return !r.connected
	}
	return true
}

// Usage reports whether the refusal is an error of the command line, and not an
// answer to a request.
func (r *Refusal) Usage() bool { return r.Kind == NotStateless || r.Kind == SeveralClusters }

// HTTPStatus returns the HTTP status code of the answer, or 0.
func (r *Refusal) HTTPStatus() int { return r.Code }

// kindOf returns the kind of an answer, or 0 if the answer may be one of an API
// server. body is the beginning of its body.
func kindOf(resp *http.Response, body []byte) Kind {
	text := strings.TrimSpace(string(body))
	switch code := resp.StatusCode; {
	case isRedirect(resp), code/100 == 2 && isPage(resp):
		return WebPage
	case code == http.StatusNotFound && text == "key not found":
		return UnknownCluster
	case code == http.StatusNotFound && text == "404 page not found":
		return NotHeadlamp
	case code == http.StatusBadGateway && text == "":
		return APIServerDown
	case code == http.StatusForbidden && text == "access denied":
		return DesktopOnly
	case code == http.StatusForbidden && text == "invalid Host header":
		return WrongHost
	case code == http.StatusBadRequest && (strings.Contains(text, "HTTP request to an HTTPS server") ||
		strings.Contains(text, "HTTP request was sent to HTTPS port")):
		return NeedsTLS
	}
	message, ok := statusMessage(body)
	switch code := resp.StatusCode; {
	case !ok:
	case code == http.StatusUnauthorized:
		return Unauthorized
	case code == http.StatusForbidden && strings.Contains(message, `"system:anonymous"`):
		return Anonymous
	case code == http.StatusBadRequest && strings.Contains(message, "pgrade request required"):
		return NoUpgrade
	}
	return 0
}

// statusMessage returns the message of a Status of an API server. ok is false
// if the body is not a Status.
func statusMessage(body []byte) (message string, ok bool) {
	var status struct{ Kind, Message string }
	err := json.Unmarshal(body, &status)
	return status.Message, err == nil && status.Kind == "Status"
}

// isPage reports whether the body of resp is HTML.
func isPage(resp *http.Response) bool {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return mediaType == "text/html"
}

// isRedirect reports whether resp is a redirect that an http.Client follows.
func isRedirect(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location") != ""
	}
	return false
}

// nearest returns names sorted by their likeness to name, the most similar
// first.
func nearest(name string, names []string) []string {
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int { return cmp.Compare(likeness(name, b), likeness(name, a)) })
	return sorted
}

// likeness returns the length of the longest common prefix of a and b plus the
// length of the longest common suffix of what follows it, in bytes.
func likeness(a, b string) int {
	prefix := 0
	for prefix < min(len(a), len(b)) && a[prefix] == b[prefix] {
		prefix++
	}
	suffix := 0
	for suffix < min(len(a), len(b))-prefix && a[len(a)-1-suffix] == b[len(b)-1-suffix] {
		suffix++
	}
	return prefix + suffix
}
