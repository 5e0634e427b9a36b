package headlamp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// Server is what a Headlamp server reports about itself. The texts are those of
// the server and may contain control characters.
type Server struct {
	Base      string    // the URL, without a / at the end
	Clusters  []Cluster // sorted by name
	Stateless bool      // the server accepts clusters of its users (isDynamicClusterEnabled)

	// The settings of the server for node shells and for debugging pods; ""
	// if the server has none.
	NodeShellImage     string
	NodeShellNamespace string
	PodDebugImage      string
}

// Cluster is one of the clusters of a server. All fields except Name may be "".
type Cluster struct {
	Name      string // as in its URL, not escaped
	Server    string // the URL of the API server, as Headlamp reaches it
	AuthType  string // "oidc", or ""
	Namespace string // the default namespace
	Error     string // why the cluster cannot be used
}

// Names returns the names of the clusters.
func (s *Server) Names() []string {
	names := make([]string, len(s.Clusters))
	for i, c := range s.Clusters {
		names[i] = c.Name
	}
	return names
}

// Cluster returns the cluster with a name, or nil.
func (s *Server) Cluster(name string) *Cluster {
	for i := range s.Clusters {
		if s.Clusters[i].Name == name {
			return &s.Clusters[i]
		}
	}
	return nil
}

// Choose returns the name of the cluster to use: name if it is not "", else the
// only cluster, else the cluster that has the name of the context; see MapName.
// If there is none, or no cluster is called name, the error is a *Refusal.
// context may be "".
func (s *Server) Choose(name, context string) (string, error) {
	mapped := MapName(context)
	switch {
	case name != "" && s.Cluster(name) != nil:
		return name, nil
	case name != "":
		return "", &Refusal{Kind: UnknownCluster, Base: s.Base, Cluster: name, Known: nearest(name, s.Names())}
	case len(s.Clusters) == 1:
		return s.Clusters[0].Name, nil
	case context != "" && s.Cluster(mapped) != nil:
		return mapped, nil
	}
	return "", &Refusal{Kind: SeveralClusters, Base: s.Base, Known: nearest(mapped, s.Names())}
}

// CheckStateless returns a *Refusal if the server does not accept clusters of
// its users.
func (s *Server) CheckStateless() error {
	if s.Stateless {
		return nil
	}
	return &Refusal{Kind: NotStateless, Base: s.Base, Known: s.Names()}
}

// config is the answer to GET BASE/config.
type config struct {
	Clusters *[]struct {
		Name     string          `json:"name"`
		Server   string          `json:"server"`
		AuthType string          `json:"auth_type"`
		Error    string          `json:"error"`
		Metadata json.RawMessage `json:"meta_data"`
	} `json:"clusters"`
	Dynamic            *bool  `json:"isDynamicClusterEnabled"`
	NodeShellImage     string `json:"defaultNodeShellImage"`
	NodeShellNamespace string `json:"defaultNodeShellNamespace"`
	PodDebugImage      string `json:"defaultPodDebugImage"`
}

// maxConfig is the largest answer to Probe, in bytes.
const maxConfig = 4 << 20

// Probe asks a server for its clusters and settings by GET base/config. client
// must send no credentials except the token of the desktop app; see NewClient.
// Probe follows no redirect. ctx limits the time. The error is a *Refusal if
// the answer is not that of a Headlamp server. Other errors mean that the
// connection failed or was cut, that the status is 5xx, or that the answer is
// larger than 4 MiB.
func Probe(ctx context.Context, client *http.Client, base string) (*Server, error) {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/config", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	resp, err := own.Do(request)
	if code, ok := redirectCode(err); ok {
		return nil, &Refusal{Kind: WebPage, Base: base, Code: code}
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readConfig(resp, base)
}

// readConfig reads the answer to GET base/config.
func readConfig(resp *http.Response, base string) (*Server, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("%s/config: %w", base, err)
	}
	if resp.StatusCode/100 == 5 { // from Headlamp, or from a proxy while Headlamp is being restarted
		return nil, fmt.Errorf("the Headlamp server %s does not work at the moment: its answer is %s", base, resp.Status)
	}
	refusal := &Refusal{Base: base, Code: resp.StatusCode}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if isPage(resp) && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden) {
		refusal.Kind = WebPage // of a login proxy
		return nil, refusal
	}
	if resp.StatusCode != http.StatusOK || mediaType != "application/json" {
		refusal.Kind = cmp.Or(kindOf(resp, body), NotHeadlamp)
		if _, ok := statusMessage(body); ok { // of an API server
			refusal.Kind = NotHeadlamp
		}
		return nil, refusal
	}
	refusal.Kind = NotHeadlamp
	var c config
	switch err := json.NewDecoder(bytes.NewReader(body)).Decode(&c); {
	case len(body) > maxConfig:
		return nil, fmt.Errorf("the answer of %s/config is larger than %d MiB", base, maxConfig>>20)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("the answer of %s/config was cut off: %w", base, err)
	case err != nil, c.Clusters == nil && c.Dynamic == nil: // the answer of another program
		return nil, refusal
	}
	return c.server(base), nil
}

// server returns the Server that c describes.
func (c *config) server(base string) *Server {
	s := &Server{
		Base: base, Stateless: c.Dynamic != nil && *c.Dynamic, NodeShellImage: c.NodeShellImage,
		NodeShellNamespace: c.NodeShellNamespace, PodDebugImage: c.PodDebugImage,
	}
	if c.Clusters == nil {
		return s
	}
	for _, item := range *c.Clusters {
		if item.Name == "" {
			continue
		}
		cluster := Cluster{Name: item.Name, Server: item.Server, AuthType: item.AuthType, Error: item.Error}
		var metadata struct {
			Namespace string `json:"namespace"`
		}
		if json.Unmarshal(item.Metadata, &metadata) == nil { // it may be missing or null
			cluster.Namespace = metadata.Namespace
		}
		s.Clusters = append(s.Clusters, cluster)
	}
	slices.SortStableFunc(s.Clusters, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	return s
}
