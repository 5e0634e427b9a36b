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

// Default times for which a Headlamp server keeps a cluster of a user.
const (
	headlampFirstTTL = 5 * time.Minute
	headlampNextTTL  = 20 * time.Second
)

var (
	errUnknownKey = errors.New(keyNotFound)
	errNoContexts = errors.New("no contexts found in kubeconfig")

	// userInProtocols matches the user id anywhere in the header with the
	// subprotocols.
	userInProtocols = regexp.MustCompile(regexp.QuoteMeta(userProtocol) + `([a-zA-Z0-9_-]+)`)
)

// headlampStore contains the clusters of users, by the name of the cluster and
// the id of the user.
type headlampStore struct {
	mu       sync.Mutex
	contexts map[string]storedContext
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

func (st *headlampStore) valid(key string) *rest.Config {
	if c, ok := st.contexts[key]; ok && time.Now().Before(c.expires) {
		return c.config
	}
	return nil
}

// put stores a cluster for the time first. If the store has one with this key,
// it keeps that one, for the time next.
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

// resolve returns the cluster of a request, and the key with which the server
// finds it. As on the real server:
//
//   - A cluster in the header KUBECONFIG is stored first. Its id is that of the
//     header X-HEADLAMP-USER-ID, which can be empty: the key is then only the
//     name.
//   - A WebSocket handshake uses only the id in the subprotocols. If the store
//     does not have the cluster of that id, the handshake goes to the server's
//     cluster of the same name, with the server's credentials.
//   - Subprotocols are separated only by a comma and a blank. A list that is
//     joined otherwise is one subprotocol.
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

func userKey(cluster, user string) string {
	if user == "" {
		return cluster
	}
	return cluster + "\x00" + user
}

// takeUser returns the id of the user from the subprotocols, and removes the
// subprotocol that contains it if it is separated by comma and blank.
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

// contextFrom returns the context with a name from a kubeconfig in base64, or
// nil if there is none.
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
