package resume

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"kshell/internal/agent"
	"kshell/internal/stream"
)

// testAgent is the serving process of the agent, in memory. Its methods are those
// of the command that it runs.
type testAgent struct {
	began time.Time

	mu      sync.Mutex
	changed *sync.Cond
	session *agent.Session
	relays  map[*agent.Peer]io.Closer
	signals []uint8
	sizes   []agent.Size
	greeted bool // a client has attached
	dead    bool // the process has ended
}

func newTestAgent(cfg agent.SessionConfig) *testAgent {
	a := &testAgent{began: time.Now(), session: agent.NewSession(cfg), relays: map[*agent.Peer]io.Closer{}}
	a.changed = sync.NewCond(&a.mu)
	return a
}

func (a *testAgent) now() time.Duration { return time.Since(a.began) }

// relay serves a relay until it ends.
func (a *testAgent) relay(relay io.ReadWriteCloser) {
	defer relay.Close()
	var decoder agent.Decoder
	var peer *agent.Peer
	var sending sync.WaitGroup
	defer sending.Wait()
	defer func() { a.detach(peer) }()
	defer relay.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := relay.Read(buf)
		if err != nil {
			return
		}
		_, _ = decoder.Write(buf[:n])
		for {
			m, err := decoder.Next()
			if err != nil {
				return
			}
			if m == nil {
				break
			}
			if hello, ok := m.(*agent.Hello); ok && peer == nil {
				if peer = a.attach(hello, relay); peer == nil {
					return
				}
				sending.Go(func() { a.send(peer, relay) })
			} else if peer == nil || a.receive(peer, m) != nil {
				return
			}
		}
	}
}

func (a *testAgent) attach(h *agent.Hello, relay io.WriteCloser) *agent.Peer {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.changed.Broadcast()
	if a.dead {
		return nil
	}
	peer, replaced, refused := a.session.Attach(h, a.now())
	if refused != nil {
		_, _ = relay.Write(agent.Append(nil, refused))
		return nil
	}
	if old := a.relays[replaced]; old != nil {
		delete(a.relays, replaced)
		_ = old.Close()
	}
	a.relays[peer], a.greeted = relay, true
	a.noteSize()
	return peer
}

func (a *testAgent) noteSize() {
	if size, changed := a.session.Size(); changed {
		a.sizes = append(a.sizes, size)
	}
}

func (a *testAgent) receive(peer *agent.Peer, m agent.Message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.changed.Broadcast()
	err := a.session.Receive(peer, m, a.now())
	a.signals = append(a.signals, a.session.Signals()...)
	a.noteSize()
	return err
}

func (a *testAgent) detach(peer *agent.Peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.changed.Broadcast()
	if peer != nil {
		a.session.Detach(peer, a.now())
		delete(a.relays, peer)
	}
}

func (a *testAgent) send(peer *agent.Peer, relay io.WriteCloser) {
	var buf []byte
	for {
		a.mu.Lock()
		for buf = a.session.Next(peer, buf[:0], a.now()); len(buf) == 0; buf = a.session.Next(peer, buf[:0], a.now()) {
			if a.relays[peer] == nil || a.dead || a.session.Finished(a.now()) {
				a.dead = a.dead || a.session.Finished(a.now())
				a.mu.Unlock()
				_ = relay.Close()
				return
			}
			a.changed.Wait()
		}
		a.mu.Unlock()
		a.changed.Broadcast()
		if _, err := relay.Write(buf); err != nil {
			_ = relay.Close()
			return
		}
	}
}

// kill ends the process.
func (a *testAgent) kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dead = true
	for _, relay := range a.relays {
		_ = relay.Close()
	}
	a.changed.Broadcast()
}

// write writes output of the command.
func (a *testAgent) write(stream agent.Stream, p []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.changed.Broadcast()
	for len(p) > 0 && !a.dead {
		n := min(a.session.OutputRoom(), len(p))
		if n <= 0 {
			a.changed.Wait()
			continue
		}
		a.session.Output(stream, p[:n])
		p = p[n:]
		a.changed.Broadcast()
	}
}

// read reads input of the command. It returns io.EOF at the end.
func (a *testAgent) read() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.dead {
		data, end, ok := a.session.Input()
		if !ok {
			a.changed.Wait()
			continue
		}
		data = slices.Clone(data)
		a.session.InputWritten(len(data))
		a.changed.Broadcast()
		if end {
			return nil, io.EOF
		}
		return data, nil
	}
	return nil, io.ErrUnexpectedEOF
}

// exit ends the command.
func (a *testAgent) exit(kind agent.ExitKind, code uint8, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session.Exit(kind, code, text)
	a.changed.Broadcast()
}

// world is a container with an agent in memory, and a network between it and the
// client. The server runs testAgents.
type world struct {
	t         *testing.T
	network   *network
	transport *stream.Transport
	cfg       agent.SessionConfig
	command   func(*testAgent) // the command; runs in a goroutine
	commands  sync.WaitGroup

	mu       sync.Mutex
	setup    func(io.ReadWriter) bool // what happens before the agent is started; false ends the relay
	agents   map[string]*testAgent    // by the ID of the session
	runs     int                      // how often the command was run
	starts   int                      // how often a relay started the agent
	attaches int
	opened   int // calls of Driver.Opened
	ended    []error
}

// newWorld returns a world. It must be called in a synctest bubble.
func newWorld(t *testing.T, cfg agent.SessionConfig, command func(*testAgent)) *world {
	w := &world{t: t, network: newNetwork(), cfg: cfg, command: command, agents: map[string]*testAgent{}}
	w.setup = w.ready
	server := &http.Server{Handler: http.HandlerFunc(w.serve)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(w.network) })
	config := &rest.Config{Host: "http://server", Dial: w.network.dial}
	transport, err := stream.NewTransport(config, true, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	w.transport = transport
	t.Cleanup(func() {
		for _, a := range w.agents {
			a.kill()
		}
		w.network.end()
		_ = server.Close()
		serving.Wait()
		w.commands.Wait()
	})
	return w
}

// ready ends the dialogue.
func (w *world) ready(relay io.ReadWriter) bool {
	_, err := io.WriteString(relay, "ready\n")
	return err == nil
}

// messages makes the channels 0 and 1 of a WebSocket a pair of byte streams.
type messages struct {
	*websocket.Conn
	rest []byte
}

func (m *messages) Read(p []byte) (int, error) {
	for len(m.rest) == 0 {
		_, message, err := m.Conn.Read(context.Background())
		if err != nil {
			return 0, err
		}
		if len(message) > 0 && message[0] == 0 {
			m.rest = message[1:]
		}
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

func (m *messages) Write(p []byte) (int, error) {
	return len(p), m.Conn.Write(context.Background(), websocket.MessageBinary, append([]byte{1}, p...))
}

func (m *messages) Close() error { return m.CloseNow() }

// exit reports the exit code of the relay.
func (m *messages) exit(code string) {
	status := `3{"status":"Success"}`
	if code != "0" {
		status = `3{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"` +
			code + `"}]}}`
	}
	message := []byte(status)
	message[0] = 3
	_ = m.Conn.Write(context.Background(), websocket.MessageBinary, message)
	_ = m.Conn.Close(websocket.StatusNormalClosure, "")
}

func (w *world) serve(rw http.ResponseWriter, req *http.Request) {
	ws, err := websocket.Accept(rw, req, &websocket.AcceptOptions{
		Subprotocols: []string{stream.V4}, InsecureSkipVerify: true,
	})
	if err != nil {
		return
	}
	ws.SetReadLimit(-1)
	relay := &messages{Conn: ws}
	defer relay.Close()
	if req.URL.Query().Get("command") == "attach" {
		w.mu.Lock()
		w.attaches++
		a := w.agents[req.URL.Query().Get("id")]
		w.mu.Unlock()
		if a == nil || a.isDead() {
			relay.exit("3")
			return
		}
		a.relay(relay)
		return
	}
	w.mu.Lock()
	w.starts++
	setup := w.setup
	w.mu.Unlock()
	if !setup(relay) {
		return
	}
	id := req.URL.Query().Get("id")
	w.mu.Lock()
	if w.agents[id] != nil {
		w.mu.Unlock()
		_, _ = relay.Write(agent.Append(nil, &agent.Refused{Reason: agent.ReasonUnable, Text: "address already in use"}))
		relay.exit("0")
		return
	}
	cfg := w.cfg
	cfg.ID = id
	a := newTestAgent(cfg)
	w.agents[id] = a
	w.mu.Unlock()
	w.commands.Go(func() {
		if a.waitForHello() {
			w.mu.Lock()
			w.runs++
			w.mu.Unlock()
			w.command(a)
		}
	})
	a.relay(relay)
}

// waitForHello waits for the first client, for at most 30 s. It reports whether
// the command is to be run.
func (a *testAgent) waitForHello() bool {
	timer := time.AfterFunc(30*time.Second, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.dead = a.dead || !a.greeted
		a.changed.Broadcast()
	})
	defer timer.Stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.greeted && !a.dead {
		a.changed.Wait()
	}
	return a.greeted
}

func (a *testAgent) isDead() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dead
}

// worldDriver implements stream.Driver.
type worldDriver struct {
	*world
	session *Session
}

func (d *worldDriver) Dial(ctx context.Context) (*stream.Conn, error) {
	d.session.mu.Lock()
	attach := d.session.attach
	d.session.mu.Unlock()
	query := map[string][]string{"command": {"start"}, "id": {d.session.ID()}}
	if attach {
		query["command"] = []string{"attach"}
	}
	return d.transport.Dial(ctx, stream.Request{Path: "/exec", Query: query, Protocols: []string{stream.V4}})
}

func (d *worldDriver) Opened(context.Context, *stream.Conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened++
	return nil
}

func (d *worldDriver) Ended(_ context.Context, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, err)
	return err
}

// lineSetup is a dialogue that ends with the first line.
type lineSetup struct{ done bool }

func (l *lineSetup) Receive(p []byte, _ time.Duration) ([]byte, error) {
	for i, b := range p {
		if b == '\n' {
			l.done = true
			return p[i+1:], nil
		}
	}
	return nil, nil
}

func (l *lineSetup) Next(buf []byte, _ time.Duration) []byte { return buf }
func (l *lineSetup) Done() bool                              { return l.done }
func (l *lineSetup) Dir() string                             { return "/dir" }

// newSession returns a session in the world.
func (w *world) newSession(set stream.Settings, cfg Config) *Session {
	if set.Keepalive == 0 {
		set.Keepalive = 10 * time.Second
	}
	if set.Reconnect == stream.ReconnectDefault {
		set.Reconnect = stream.ReconnectAlways
	}
	if cfg.ID == "" && cfg.Start == nil {
		cfg.Start = &Start{ID: "test"}
	}
	d := &worldDriver{world: w}
	s := New(d, nil, set, cfg)
	s.newSetup = func() negotiation { return &lineSetup{} }
	d.session = s
	return s
}

// backoff is a constant delay between attempts.
func backoff(delay time.Duration) wait.Backoff { return wait.Backoff{Duration: delay} }

// after calls f after a time, in a goroutine for which the test waits.
func (w *world) after(d time.Duration, f func()) {
	w.commands.Go(func() {
		time.Sleep(d)
		f()
	})
}

// waitOpened waits until Driver.Opened was called n times.
func (w *world) waitOpened(n int) {
	for {
		w.mu.Lock()
		opened := w.opened
		w.mu.Unlock()
		if opened >= n {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// output is a buffer that any goroutine may use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
