package sandbox

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fault is one kind of misbehavior. After Inject, it applies to matching
// requests; to each request, only the oldest matching fault applies. The zero
// value matches every exec and attach, and changes nothing. The fields can be
// combined.
type Fault struct {
	// Path limits the fault to requests whose URL path contains it. Default:
	// exec and attach requests; "/" matches all requests.
	Path string
	// WholePath limits the fault to requests whose URL path is equal to Path. It
	// has no effect if Path is empty.
	WholePath bool
	// Method limits the fault to requests with this HTTP method. Default: all.
	Method string
	// Upgrades limits the fault to requests for an upgrade to another protocol,
	// such as WebSockets.
	Upgrades bool
	// LineLimit limits the fault to requests whose request line is longer than
	// this number of bytes. Together with Code, it simulates a gateway that
	// limits the request line. Default: all.
	LineLimit int
	// Seen, if not nil, is called for each request that the fault applies to,
	// before the request is handled.
	Seen func()
	// Times is the number of requests that the fault applies to. Default: all,
	// until the fault is undone.
	Times int
	// Wait delays the handling of the request.
	Wait time.Duration

	// Code, if not 0, makes the server refuse the request with this HTTP
	// status, whoever the user is. The answer has Body and ContentType (default
	// text/plain). Examples: 502 with an HTML page, 403 without a body, 200
	// instead of an upgrade.
	Code        int
	Body        string
	ContentType string
	// Refusal, if not nil, makes the server refuse the request with this Status
	// object. Refusal.Code is the HTTP status (default 500).
	Refusal *metav1.Status

	// Subprotocol, if not nil, is the subprotocol that the server selects and
	// uses, whatever the client offered. A pointer to "" selects none.
	Subprotocol *string

	// Do is an action that happens once, at the time that When specifies.
	Do   Action
	When Moment
	// N is the number of WebSocket bytes after which the action happens: bytes
	// to the client for AfterSent, bytes from the client for AfterReceived. N
	// includes the frame headers, but not the 101 answer. The action happens
	// exactly after N bytes, even in the middle of a frame. Only SaySuccess
	// with AfterSent waits for the end of the frame. For a watch over HTTP, N
	// counts the bytes of the body, and the action waits for the end of the
	// line.
	N int64

	// After is the time from the 101 to the action, for AfterTime.
	After time.Duration
	// InFlight limits AtEnd and LoseTail to sessions whose command exited
	// before its stdin ended. If the protocol has no half-close, stdin does not
	// end while the client is connected. InFlight then selects every session
	// that has stdin. In a few percent of the selected sessions, a real server
	// sends a false result: Success in place of the exit code (SaySuccess), no
	// Status (CloseFrame), or only a part of the output or none (LoseTail),
	// which can come together with Success.
	InFlight bool
	// Kill makes the action kill the command, too.
	Kill bool

	// RefuseCommand, if not nil, limits the fault to execs for whose command
	// RefuseCommand returns true. Unless Code, Refusal or Do is set, the server
	// refuses these execs as an admission policy does, after the checks of the
	// user's rights and of the pod. For the error, see policyDenial.
	RefuseCommand func(args []string) bool

	// IgnoreSelectors makes lists and watches return all objects of the
	// namespace, as the response cache of a dashboard may do.
	IgnoreSelectors bool

	// Delay is added before each message to the client.
	Delay time.Duration
	// DropPongs leaves pings unanswered.
	DropPongs bool
	// ErrorChannel, if not nil, is sent on channel 3 in place of the Status:
	// hostile text, a huge Status, or invalid JSON.
	ErrorChannel []byte

	// Rate limits the link to the client, in bytes per second. As on a real
	// link, the server does not notice the limit: while less than 4 MiB are in
	// flight, its writes do not wait. If the whole output fits, the server has
	// sent the Status and closed the connection long before the client has
	// received them. For N, bytes in flight count as sent.
	Rate int64
	// LateReset makes the server answer the first byte that the client sends
	// after the close (a ping, for example) with an RST. The RST destroys all
	// output, the Status and the close frame that are still in flight, that is,
	// have not arrived in the client's kernel. With Rate, or if the client does
	// not read, up to 4 MiB are in flight. The client can still read what its
	// kernel has received. The kernel's receive buffer holds about 128 KiB at
	// first.
	LateReset bool
	// StatusDeadline limits the time from the sending of the Status until the
	// client has received everything that is in flight (see LateReset). If the
	// client needs longer, the server resets the connection. In the API server,
	// the deadline is 10 s (writeErrorDeadline in pkg/util/proxy). 0: no limit.
	StatusDeadline time.Duration

	// Withhold applies to requests that create a pod: the pod is created, but
	// the request is never answered.
	Withhold bool

	// NotRunning makes the server answer that the container does not exist, as
	// a kubelet does while it restarts the container.
	NotRunning bool
	// FailStart, if not "", makes the server report a failure with this message
	// after the 101, instead of running the command, as if the container runtime
	// could not start it.
	FailStart string
	// StartAfter is the time from the 101 to the start of the command. On real
	// servers, it is about 50 ms. Stdin that arrives before the start waits in
	// the server. If stdin is endless, the command therefore leaves some of it
	// unread, even if it exits at once. For the consequences, see
	// Config.Gentle.
	StartAfter time.Duration
	// LoseStdin discards all stdin of a command without a tty.
	LoseStdin bool
	// DropStdin loses stdin as containerd does (containerd#13934): when all
	// processes have closed stdout or stderr of a command without a tty, the
	// command's stdin ends and the rest of stdin is discarded. An example is
	// `cat > FILE`, if the shell execs cat. The server sends stdin only after
	// the command has been idle for about 60 ms, so that a command that first
	// closes an output gets no stdin at all.
	DropStdin bool
	// LoseTail is a time span: the output that the command wrote within
	// LoseTail before its exit is lost, but the Status is not. All output is
	// delayed by LoseTail.
	LoseTail time.Duration
}

// Action is what a Fault does.
type Action int

// The actions. If an action is not defined for a moment, such as CloseFrame at
// AtRequest, it closes the connection.
const (
	Nothing    Action = iota
	FIN               // end the TCP stream, possibly in the middle of a message, without a close frame or close_notify
	RST               // reset the TCP connection
	CloseFrame        // send close frame 1000 without a Status
	Hang              // AtRequest: never answer. AtEnd: no Status, no close. Otherwise: StallRead and StallWrite
	SaySuccess        // send the Status Success and close; if the command still runs, it continues, unless Kill is set
	StallRead         // stop reading
	StallWrite        // stop writing, including pongs
	KillPod           // delete the pod that the request names (grace period 0), and continue
	DropAll           // call Restart
	RotateLog         // make the logs of the pod that the request names begin with the next line, and continue
	DeleteLog         // delete these logs (for 3 s, requests for them are refused and output is lost), and continue
)

// Moment is when a Fault acts.
type Moment int

// The moments.
const (
	AtRequest     Moment = iota // in place of the answer
	AfterSent                   // after N bytes to the client; 0 means right after the 101
	AfterReceived               // after N bytes from the client; 0 means right after the 101
	AtEnd                       // when the command has exited and its output has been sent, in place of the Status
	AfterTime                   // when the time After has passed since the 101
)

var errFault = errors.New("the connection was cut by an injected fault")

// faults are the injected faults.
type faults struct {
	mu   sync.Mutex
	list []*injected
}

type injected struct {
	Fault
	left int
}

// active is a fault that applies to one request. A nil *active does nothing.
type active struct {
	Fault
	sent int64 // bytes of a watch over HTTP that have been sent
}

// Inject activates a fault until undo is called, Times requests have matched,
// or Reset is called. A request that has matched keeps the fault until the
// request ends.
func (s *Server) Inject(f Fault) (undo func()) {
	in := &injected{Fault: f, left: f.Times}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(s.faults.list, in)
	return func() { s.faults.drop(in) }
}

// Reset undoes all faults.
func (s *Server) Reset() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = nil
}

func (fs *faults) drop(in *injected) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.list = slices.DeleteFunc(fs.list, func(other *injected) bool { return other == in })
}

// take returns the fault that applies to a request, or nil. The request counts
// for the Times of that fault.
func (fs *faults) take(r *http.Request) *active {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i, in := range fs.list {
		if !in.matches(r) {
			continue
		}
		if in.Times > 0 {
			if in.left--; in.left == 0 {
				fs.list = slices.Delete(fs.list, i, i+1)
			}
		}
		return &active{Fault: in.Fault}
	}
	return nil
}

func (f Fault) matches(r *http.Request) bool {
	path := r.URL.Path
	if f.Method != "" && f.Method != r.Method {
		return false
	}
	if f.Upgrades && r.Header.Get("Upgrade") == "" {
		return false
	}
	if len(r.Method)+len(r.RequestURI)+len("  HTTP/1.1\r\n") <= f.LineLimit {
		return false
	}
	exec := strings.HasSuffix(path, "/exec")
	if f.RefuseCommand != nil && (!exec || !f.RefuseCommand(r.URL.Query()["command"])) {
		return false
	}
	if f.Path == "" {
		return exec || strings.HasSuffix(path, "/attach")
	}
	return strings.Contains(path, f.Path) && (!f.WholePath || path == f.Path)
}

// denies reports whether the server refuses the request as an admission policy
// does. RefuseCommand has already returned true, because f applies to the
// request.
func (f *active) denies() bool { return f != nil && f.RefuseCommand != nil && f.Do == Nothing }

func (f *active) ignoresSelectors() bool { return f != nil && f.IgnoreSelectors }

// actsAt reports whether the fault has an action for the moment.
func (f *active) actsAt(when Moment) bool { return f != nil && f.Do != Nothing && f.When == when }

// atRequest does what the fault must do before the request is handled. It
// reports whether the request is finished and must not be handled.
func (f *active) atRequest(s *Server, w http.ResponseWriter, r *http.Request) bool {
	if f == nil {
		return false
	}
	if f.Seen != nil {
		f.Seen()
	}
	if f.Wait > 0 {
		select {
		case <-time.After(f.Wait):
		case <-r.Context().Done():
		}
	}
	switch {
	case f.Refusal != nil:
		f.refuse(w)
		return true
	case f.Code != 0:
		if f.ContentType != "" {
			w.Header().Set("Content-Type", f.ContentType)
		} else if f.Body != "" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		w.WriteHeader(f.Code)
		_, _ = w.Write([]byte(f.Body))
		return true
	case f.actsAt(AtRequest):
		return f.actAtRequest(s, r)
	}
	if f.Subprotocol != nil {
		r.Header.Del("Sec-WebSocket-Protocol")
		if *f.Subprotocol != "" {
			r.Header.Set("Sec-WebSocket-Protocol", *f.Subprotocol)
		}
	}
	return false
}

func (f *active) refuse(w http.ResponseWriter) {
	st := f.Refusal.DeepCopy()
	st.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	if st.Status == "" {
		st.Status = metav1.StatusFailure
	}
	if st.Code == 0 {
		st.Code = http.StatusInternalServerError
	}
	writeJSON(w, int(st.Code), st)
}

func (f *active) actAtRequest(s *Server, r *http.Request) bool {
	switch f.Do {
	case KillPod:
		f.killPod(s, r)
		return false
	case RotateLog, DeleteLog:
		f.loseLogs(s, r)
		return false
	case DropAll:
		s.Restart()
	case Hang, StallRead, StallWrite:
		<-r.Context().Done()
	case RST:
		rawConnOf(r).reset()
	default:
		_ = rawConnOf(r).Close()
	}
	return true
}

// killPod deletes the pod that the request names.
func (f *active) killPod(s *Server, r *http.Request) {
	if q, ok := parsePath(r); ok {
		_ = s.deletePod(q.key(), 0) // the pod may be gone already
	}
}

// loseLogs rotates or deletes the logs of the pod that the request names.
func (f *active) loseLogs(s *Server, r *http.Request) {
	q, ok := parsePath(r)
	if !ok {
		return
	}
	for _, c := range s.containers(q.key()) {
		if f.Do == DeleteLog {
			c.broadcast.delete()
		} else {
			c.broadcast.rotate()
		}
	}
}

// beforeLine applies the fault to a watch over HTTP, before the server sends a
// line of n bytes.
func (f *active) beforeLine(r *http.Request, n int) error {
	if f == nil {
		return nil
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
		}
	}
	if f.actsAt(AfterSent) && f.sent >= f.N {
		switch f.Do {
		case RST:
			rawConnOf(r).reset()
		case FIN:
			rawConnOf(r).fin()
		case Hang, StallRead, StallWrite:
			<-r.Context().Done()
		}
		return errFault
	}
	f.sent += int64(n)
	return nil
}
