package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// Config says where and how a sandbox runs.
type Config struct {
	// Dir receives the kubeconfig, the certificates and one directory per container. Required; made if it is missing.
	// Close leaves it in place.
	Dir string
	// Addr is the address to listen on. Default: 127.0.0.1:0.
	Addr string
	// Listener replaces Addr, for tests on connections in memory. Close closes it. Connections that are not TCP end without
	// a TLS close_notify: on a net.Pipe both sides would wait for each other to read it.
	Listener net.Listener
	// Gentle makes the end of a session kinder than a real server's: the socket stays half open until the client has
	// closed it too (at most 2 s), and unread stdin never holds the Status back. Without it a session closes its socket at
	// once, so that what a client still sends may destroy what it has not read yet, and stays silent for ever when the
	// command left some 160 KiB of stdin unread.
	Gentle bool
	// Empty leaves the seeded pods and workloads out; the namespaces are there.
	Empty bool
	// StatusDelay is the time from the end of a container, with all its
	// processes, to the update of its pod's status. A kubelet takes one to two
	// seconds.
	StatusDelay time.Duration
	// Cgroup is the directory of a cgroup (Linux) in which the commands of
	// execs are started. As with a container runtime, its process limit does
	// not apply to the first process of a command, but to the processes that it
	// forks.
	Cgroup string
}

// Server is a running sandbox. All its methods may be called from any goroutine.
type Server struct {
	cfg   Config
	dir   string
	url   string
	id    string // in every process's environment, to find them all again
	users []user

	ctx    context.Context
	cancel context.CancelFunc
	ln     *listener
	http   *http.Server
	store  *store
	faults faults
	book   book

	wg sync.WaitGroup // every goroutine and every running request

	mu      sync.Mutex
	pods    map[types.NamespacedName]*podRun
	images  map[string]string // the roots of those that are not the machine, by name
	reviews bool              // see Review
	private map[string]bool   // nodes whose root is a private mount
	closing bool

	makeNoShell, makeNoDD func() error // see makeImage

	closed func() error
}

// Start runs a sandbox until Close. It fails if the directory, the address or a certificate cannot be had, and on
// Windows always.
func Start(cfg Config) (*Server, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	s, err := newServer(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot start the sandbox: %w", err)
	}
	if err := errors.Join(s.addNodeImage(), s.seed()); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start the sandbox's pods: %w", err), s.Close())
	}
	return s, nil
}

func newServer(cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("no directory was given")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	certs, err := newCertificates()
	if err != nil {
		return nil, err
	}
	inner, err := listen(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:   cfg,
		dir:   dir,
		url:   "https://" + inner.Addr().String(),
		id:    randomName(16),
		users: newUsers(),
		store: newStore(),
		pods:  map[types.NamespacedName]*podRun{},

		private: map[string]bool{},

		images: map[string]string{},
	}
	s.makeNoShell, s.makeNoDD = sync.OnceValue(s.addNoShellImage), sync.OnceValue(s.addNoDDImage)
	for _, image := range []string{NoShellImage, NoDDImage} {
		s.images[image] = s.imageDir(image)
	}
	if cfg.Listener != nil {
		if _, _, err := net.SplitHostPort(inner.Addr().String()); err != nil {
			s.url = "https://" + certificateName
		}
	}
	if err := s.writeFiles(certs); err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.closed = sync.OnceValue(s.shutdown)
	s.serve(inner, certs)
	return s, nil
}

func listen(cfg Config) (net.Listener, error) {
	if cfg.Listener != nil {
		return cfg.Listener, nil
	}
	addr := cfg.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	return net.Listen("tcp", addr)
}

func (s *Server) serve(inner net.Listener, certs *certificates) {
	s.ln = newListener(inner)
	s.http = &http.Server{
		Handler:           s.tracked(s.serveHTTP),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 30 * time.Second,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certs.server}},
		BaseContext: func(net.Listener) context.Context {
			return klog.NewContext(s.ctx, klog.Logger{}) // the zero logger is silent
		},
		ConnContext: withConn,
	}
	s.wg.Go(func() {
		_ = s.http.ServeTLS(s.ln, "", "") // always ends with http.ErrServerClosed or the listener's error
	})
}

// enter counts something that Close has to wait for, which then has to call wg.Done; false if Close has begun.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.wg.Add(1)
	return true
}

// tracked makes Close wait for running requests.
func (s *Server) tracked(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.enter() {
			defer s.wg.Done()
			next(w, r)
		}
	})
}

// start runs f in a goroutine that Close waits for; once Close has begun it does nothing.
func (s *Server) start(f func()) {
	if s.enter() {
		go func() {
			defer s.wg.Done()
			f()
		}()
	}
}

// Close ends all connections and all processes, waits for every goroutine and returns. Files stay. Further calls
// return the first one's result.
func (s *Server) Close() error { return s.closed() }

func (s *Server) shutdown() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.cancel()
	err := s.ln.Close()
	_ = s.http.Close() // closes the listener again, with the same result
	s.ln.dropAll(false)
	containers := s.allContainers()
	killAll(s.id, containers...)
	s.wg.Wait()
	killAll(s.id, containers...) // what was started meanwhile
	return err
}

func (s *Server) allContainers() []*container {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*container
	for _, run := range s.pods {
		list = slices.AppendSeq(list, maps.Values(run.containers))
	}
	return list
}

// URL is the server's base address, https://host:port.
func (s *Server) URL() string { return s.url }

// Kubeconfig is the path of the kubeconfig file. Its contexts are named sandbox (the admin, current) and none,
// get-only, create-only, exec-only; see Token.
func (s *Server) Kubeconfig() string { return filepath.Join(s.dir, "kubeconfig") }

// CA is the path of the certificate authority's file, in PEM.
func (s *Server) CA() string { return filepath.Join(s.dir, "ca.crt") }

// AddPod adds a pod as it stands, without any validation, and runs it. A pod without a status is run whole: each
// container's command as a local process (an idle one if it has none). With a status it is believed, and only the containers
// that it says are running are run. Name, namespace ("default") and UID are filled in if missing. The containers' env is theirs,
// whatever the names: my.var, PWD; PATH and HOME too. Of images see NoShellImage and AddImage.
func (s *Server) AddPod(p *corev1.Pod) error { return s.addPod(p.DeepCopy()) }

// DeletePod deletes a pod like the API does. The grace period is capped at one second, so that tests are quick; 0 kills
// at once. A pod that a workload owns is replaced. The pod is gone from the API a moment later, not when this returns.
func (s *Server) DeletePod(namespace, name string, grace time.Duration) error {
	return s.deletePod(types.NamespacedName{Namespace: namespace, Name: name}, grace)
}

// ChangePod has change work on what is known of a pod, as a controller or a kubelet would: its status, its conditions.
func (s *Server) ChangePod(namespace, name string, change func(*corev1.Pod)) error {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	o, ok := s.store.get("pods", key)
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, name)
	}
	s.store.updatePod(key, o.GetUID(), func(o object) { change(o.(*corev1.Pod)) })
	return nil
}

// Restart drops every connection with a reset, as a crashing API server does. Processes go on, as on a cluster.
func (s *Server) Restart() { s.ln.dropAll(true) }

// Down drops every connection and refuses new ones (accepts and resets them) until up is called.
func (s *Server) Down() (up func()) { return s.ln.down() }

// SetPrivateRoot sets whether the root of a node is a private mount, as on k3d,
// WSL2 and Alpine. There, a container that mounts a path of the node with
// mountPropagation does not start. It applies to pods that are added later.
func (s *Server) SetPrivateRoot(node string, private bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.private[node] = private
}

// Review sets whether the sandbox answers SelfSubjectAccessReviews. By default
// it does not know them, like an old server.
func (s *Server) Review(answer bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reviews = answer
}

func (s *Server) answersReviews() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reviews
}

// Expire forgets the history, so that a watch from any earlier resource version gets 410 Gone.
func (s *Server) Expire() { s.store.expire() }

// Pids lists the live processes of a container, the main one included, in no order.
func (s *Server) Pids(namespace, pod, container string) []int {
	c := s.container(types.NamespacedName{Namespace: namespace, Name: pod}, container)
	if c == nil {
		return nil
	}
	return c.pids()
}

// Dir is the private directory of a container, its working directory and HOME; empty if there is none such.
func (s *Server) Dir(namespace, pod, container string) string {
	c := s.container(types.NamespacedName{Namespace: namespace, Name: pod}, container)
	if c == nil {
		return ""
	}
	return c.dir
}
