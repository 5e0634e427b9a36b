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
	"sync/atomic"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// Config configures a sandbox.
type Config struct {
	// Dir receives the kubeconfig, the certificates and one directory per
	// container. It is required, and created if it does not exist. Close keeps
	// it.
	Dir string
	// Addr is the address to listen on. Default: 127.0.0.1:0.
	Addr string
	// Listener replaces Addr, for tests with connections in memory. Close
	// closes it. Connections that are not TCP end without a TLS close_notify,
	// because on a net.Pipe, each side would wait until the other side reads
	// the close_notify.
	Listener net.Listener
	// Gentle makes the server end sessions more carefully than a real server
	// does: it first ends only its direction of the socket, and still reads
	// until the client ends the other direction, but for at most 2 s. Unread
	// stdin never delays the Status.
	//
	// Without Gentle, the server closes the socket at once, as a real server
	// does. If the client still sends data, the socket is then reset, which can
	// destroy output that the client has not read yet. If the command left more
	// than about 160 KiB of stdin unread, the server never sends the Status.
	Gentle bool
	// Empty leaves out the pods and workloads that seed creates. The namespaces
	// and nodes exist nevertheless.
	Empty bool
	// StatusDelay is the time from the end of all processes of a container to
	// the update of the pod's status. A kubelet takes one to two seconds.
	StatusDelay time.Duration
	// Cgroup is the directory of a cgroup (Linux) in which the commands of
	// execs are started. As with a container runtime, the process limit of the
	// cgroup stops only the forks of a command. The first process of the
	// command is not forked in the cgroup, but moved to it.
	Cgroup string
}

// Server is a running sandbox. All its methods may be called from any
// goroutine.
type Server struct {
	cfg   Config
	dir   string
	url   string
	id    string // the beginning of markVariable in all processes of this sandbox
	certs *certificates
	users []user

	ctx     context.Context
	cancel  context.CancelFunc
	ln      *listener
	http    *http.Server
	store   *store
	faults  faults
	records records
	steps   atomic.Pointer[Steps] // nil before Expect

	wg sync.WaitGroup // all goroutines and running requests

	mu      sync.Mutex
	pods    map[types.NamespacedName]*podRun
	images  map[string]string // directories by image name; other images contain the commands of the machine
	reviews bool              // see Review
	private map[string]bool   // nodes whose root is a private mount
	closing bool

	makeNoShell, makeNoDD func() error // see makeImage

	closed func() error
}

// Start starts a sandbox, which runs until Close is called. It returns an error
// if it cannot create the directory or a certificate, or cannot listen on the
// address. On Windows, it always returns an error.
func Start(cfg Config) (*Server, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	s, err := newServer(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot start the sandbox: %w", err)
	}
	if err := errors.Join(s.addNodeImage(), s.seed()); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start the pods of the sandbox: %w", err), s.Close())
	}
	return s, nil
}

func newServer(cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("Dir is required")
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
		certs: certs,
		users: newUsers(),
		store: newStore(),
		pods:  map[types.NamespacedName]*podRun{},

		private: map[string]bool{},
		images:  map[string]string{},
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
	s.ln.hello = func() { s.steps.Load().arrive(s.ctx, StepTLS) }
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

// enter adds one to the goroutines and requests that Close waits for. It
// returns false, and adds none, after Close was called. If it returns true, the
// caller must call wg.Done.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.wg.Add(1)
	return true
}

// tracked makes Close wait for running requests. It ignores requests that
// arrive after Close was called.
func (s *Server) tracked(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.enter() {
			defer s.wg.Done()
			next(w, r)
		}
	})
}

// start runs f in a goroutine that Close waits for. After Close was called, it
// does nothing.
func (s *Server) start(f func()) {
	if s.enter() {
		go func() {
			defer s.wg.Done()
			f()
		}()
	}
}

// Close ends all connections and processes, waits for every goroutine, and
// returns. It keeps the files. Further calls return the result of the first.
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
	killAll(s.id, containers...) // processes that were started in the meantime
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

// URL returns the base address of the server, https://host:port.
func (s *Server) URL() string { return s.url }

// Kubeconfig returns the path of the kubeconfig file. Its contexts are sandbox,
// none, get-only, create-only and exec-only. The current context is sandbox,
// whose user is admin. In the other contexts, the user has the same name as the
// context. For the rights of the users, see Token.
func (s *Server) Kubeconfig() string { return filepath.Join(s.dir, "kubeconfig") }

// CA returns the path of the certificate of the certificate authority, in PEM.
func (s *Server) CA() string { return filepath.Join(s.dir, "ca.crt") }

// AddPod adds a pod without validating it, and runs it. If the pod has no
// status, all containers run. Each runs its command as a local process, or cat
// if it has no command. If the pod has a status, only the containers that are
// running according to the status are run. AddPod sets the name, the namespace
// ("default") and the UID if they are empty.
//
// The env of a container can contain variables of any name, such as my.var,
// PWD, PATH and HOME. For images, see NoShellImage and AddImage.
func (s *Server) AddPod(p *corev1.Pod) error { return s.addPod(p.DeepCopy()) }

// DeletePod deletes a pod as the API does. The grace period is at most one
// second, so that tests are fast; 0 kills the processes at once. If a workload
// owns the pod, a replacement is created. The pod disappears from the API
// shortly after DeletePod has returned.
func (s *Server) DeletePod(namespace, name string, grace time.Duration) error {
	return s.deletePod(types.NamespacedName{Namespace: namespace, Name: name}, grace)
}

// ChangePod calls change with a copy of the pod and stores the copy, as if a
// controller or kubelet had changed the pod (its status, its conditions).
func (s *Server) ChangePod(namespace, name string, change func(*corev1.Pod)) error {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	o, ok := s.store.get("pods", key)
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, name)
	}
	s.store.updatePod(key, o.GetUID(), func(o object) { change(o.(*corev1.Pod)) })
	return nil
}

// AddEvent adds an event about a pod, which must exist. AddEvent sets the name
// of the event and the fields that refer to the pod.
func (s *Server) AddEvent(namespace, pod string, e corev1.Event) error {
	p, err := s.pod(types.NamespacedName{Namespace: namespace, Name: pod})
	if err != nil {
		return err
	}
	e.TypeMeta = typeMeta("v1", "Event")
	e.Namespace, e.Name, e.UID = namespace, pod+"."+randomName(16), newUID()
	e.CreationTimestamp = metav1.Now()
	e.InvolvedObject = corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: pod, UID: p.UID}
	s.store.put("events", &e)
	return nil
}

// AddSigningRequest adds a pending certificate signing request for the serving
// certificate of a node's kubelet.
func (s *Server) AddSigningRequest(name, node string) {
	s.store.put("certificatesigningrequests", &certificatesv1.CertificateSigningRequest{
		TypeMeta:   typeMeta("certificates.k8s.io/v1", "CertificateSigningRequest"),
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Now()},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: certificatesv1.KubeletServingSignerName, Username: "system:node:" + node,
		},
	})
}

// Restart resets every connection, as when an API server crashes. As on a
// cluster, processes keep running.
func (s *Server) Restart() { s.ln.dropAll(true) }

// Down resets every connection. Until the returned function up is called, each
// new connection is accepted and at once reset.
func (s *Server) Down() (up func()) { return s.ln.down() }

// SetPrivateRoot sets whether the root of a node is a private mount, as on k3d,
// WSL2 and Alpine. On such a node, a container that mounts a path of the node
// with mountPropagation does not start. The setting applies to pods that are
// added later.
func (s *Server) SetPrivateRoot(node string, private bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.private[node] = private
}

// Review sets whether the sandbox answers SelfSubjectAccessReviews and
// SelfSubjectReviews. By default it does not, like an old server.
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

// Expire discards the history of changes: a watch from any earlier resource
// version gets 410 Gone.
func (s *Server) Expire() { s.store.expire() }

// Bookmark sends a bookmark with a new resource version to each watch that has
// asked for bookmarks.
func (s *Server) Bookmark() { s.store.bookmark() }

// EndWatches ends all watches as a server does after their timeout: with a
// close frame, or with the end of the body.
func (s *Server) EndWatches() { s.store.endWatches() }

// Put adds or replaces an object that is not a pod. resource is the plural of
// its type, such as nodes. If the object has no UID or no time of creation, Put
// sets it: to that of the replaced object, or to a new one. The caller must not
// change the object afterwards.
func (s *Server) Put(resource string, o interface {
	metav1.Object
	runtime.Object
},
) {
	uid, created := newUID(), metav1.Now()
	if old, ok := s.store.get(resource, keyOf(o)); ok {
		uid, created = old.GetUID(), old.GetCreationTimestamp()
	}
	if o.GetUID() == "" {
		o.SetUID(uid)
	}
	if given := o.GetCreationTimestamp(); given.IsZero() {
		o.SetCreationTimestamp(created)
	}
	s.store.put(resource, o)
}

// Remove removes an object that Put has added. It does nothing if there is no
// such object.
func (s *Server) Remove(resource, namespace, name string) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	if o, ok := s.store.get(resource, key); ok {
		s.store.remove(resource, key, o.GetUID())
	}
}

// Pids returns the running processes of a container, including the main
// process, in no particular order.
func (s *Server) Pids(namespace, pod, container string) []int {
	c := s.container(types.NamespacedName{Namespace: namespace, Name: pod}, container)
	if c == nil {
		return nil
	}
	return c.pids()
}

// Dir returns the private directory of a container, which is its working
// directory and HOME. It returns "" if there is no such container.
func (s *Server) Dir(namespace, pod, container string) string {
	c := s.container(types.NamespacedName{Namespace: namespace, Name: pod}, container)
	if c == nil {
		return ""
	}
	return c.dir
}
