package sandbox

import (
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// Defaults of HeadlampConfig.FirstTTL and NextTTL.
const (
	headlampFirstTTL = 5 * time.Minute
	headlampNextTTL  = 20 * time.Second
)

var (
	errUnknownKey = errors.New(keyNotFound)
	errNoContexts = errors.New("no contexts found in kubeconfig")

	// userInProtocols matches the user ID at any place in the list of the
	// offered subprotocols.
	userInProtocols = regexp.MustCompile(regexp.QuoteMeta(userProtocol) + `([a-zA-Z0-9_-]+)`)
)

// headlampStore contains the clusters of users.
type headlampStore struct {
	mu       sync.Mutex
	contexts map[string]storedContext // by userKey
}

type storedContext struct {
	config  *rest.Config
	expires time.Time
}

// get returns a cluster, or nil if it is unknown or has expired.
func (st *headlampStore) get(key string) *rest.Config {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.valid(key)
}

// valid is like get. st.mu must be held.
func (st *headlampStore) valid(key string) *rest.Config {
	if c, ok := st.contexts[key]; ok && time.Now().Before(c.expires) {
		return c.config
	}
	return nil
}

// put stores a cluster for the duration first. If the store already has a
// cluster with this key, put keeps the stored one, for the duration next.
func (st *headlampStore) put(key string, cfg *rest.Config, first, next time.Duration) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.contexts == nil {
		st.contexts = map[string]storedContext{}
	}
	ttl := first
	if known := st.valid(key); known != nil {
		cfg, ttl = known, next
	}
	st.contexts[key] = storedContext{cfg, time.Now().Add(ttl)}
}

func (st *headlampStore) clear() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.contexts = nil
}

// resolve returns the cluster of a request, and its key in the store. The key
// of a cluster of the server is its name. As on the real server:
//
//   - A cluster in the header KUBECONFIG is stored first, with the user ID of
//     the header X-HEADLAMP-USER-ID. If the user ID is empty, the key is only
//     the name.
//   - A WebSocket handshake uses only the user ID in the subprotocols. If the
//     store has no cluster with it, the handshake goes to the server's cluster
//     of the same name, with the server's credentials.
//   - Only a comma and a space separate subprotocols. A list with another
//     separator is one subprotocol.
func (run *headlampRun) resolve(cfg *HeadlampConfig, r *http.Request, name string) (HeadlampCluster, string, error) {
	key := name
	if header := r.Header.Get("KUBECONFIG"); header != "" && cfg.DynamicClusters {
		config, err := contextFrom(header, name)
		if err != nil {
			return HeadlampCluster{}, "", err
		}
		key = ""
		if config != nil {
			key = userKey(name, r.Header.Get(userHeader))
			first, next := cfg.ttls()
			run.store.put(key, config, first, next)
		}
	}
	webSocket := r.Header.Get("Upgrade") == "websocket"
	if webSocket {
		key = userKey(name, takeUser(r.Header))
	}
	if config := run.store.get(key); config != nil {
		return HeadlampCluster{Name: name, Config: config}, key, nil
	}
	for _, c := range cfg.Clusters {
		if c.Name == key || webSocket && c.Name == name {
			return c, c.Name, nil
		}
	}
	return HeadlampCluster{}, "", errUnknownKey
}

func (cfg *HeadlampConfig) ttls() (first, next time.Duration) {
	first, next = cfg.FirstTTL, cfg.NextTTL
	if first == 0 {
		first = headlampFirstTTL
	}
	if next == 0 {
		next = headlampNextTTL
	}
	return first, next
}

// userKey returns the key of a user's cluster in the store.
func userKey(cluster, user string) string {
	if user == "" {
		return cluster
	}
	return cluster + "\x00" + user
}

// takeUser returns the user ID from the subprotocols, or "". It removes the
// subprotocol with the ID only if a comma and a space separate it from others.
func takeUser(h http.Header) string {
	offer := h.Get(wsstream.WebSocketProtocolHeader)
	var rest []string
	for p := range strings.SplitSeq(offer, ", ") {
		if !strings.HasPrefix(p, userProtocol) {
			rest = append(rest, p)
		}
	}
	setProtocols(h, rest)
	if m := userInProtocols.FindStringSubmatch(offer); m != nil {
		return m[1]
	}
	return ""
}

// contextFrom returns the client configuration of the context name in a
// base64-encoded kubeconfig, or nil if there is no such context.
func contextFrom(header, name string) (*rest.Config, error) {
	data, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		return nil, errNoContexts
	}
	cfg, err := clientcmd.Load(data)
	if err != nil || len(cfg.Contexts) == 0 {
		return nil, errNoContexts
	}
	if cfg.Contexts[name] == nil {
		return nil, nil
	}
	return clientcmd.NewNonInteractiveClientConfig(*cfg, name, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
}
