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

// Fault is one way to misbehave. Inject it; it then applies to matching requests, one fault a request, the oldest first.
// The zero value matches every exec and attach and changes nothing. Its fields combine.
type Fault struct {
	// Path limits the fault to requests whose URL path contains it. Default: exec and attach requests only; "/" is all.
	Path string
	// Method limits the fault to requests with this HTTP method. Default: all.
	Method string
	// Seen, if not nil, is called for each request that the fault applies to,
	// before the request is handled.
	Seen func()
	// Times is how many requests it applies to. Default: all, until it is undone.
	Times int
	// Wait is how long the server sits on the request before it does anything with it.
	Wait time.Duration

	// Code refuses with this HTTP status, Body and ContentType (default text/plain), whoever asks: 502 with an HTML page,
	// 403 without a body, 200 instead of an upgrade.
	Code        int
	Body        string
	ContentType string
	// Refusal refuses with a Status object; its Code is the HTTP status (default 500).
	Refusal *metav1.Status

	// Subprotocol is answered and spoken, whatever was offered; a pointer to "" selects none.
	Subprotocol *string

	// Do happens once, When the time has come.
	Do   Action
	When Moment
	// N counts the WebSocket bytes (frame headers included, the 101 answer not) for AfterSent and AfterReceived, in the
	// direction named. An action takes place exactly there, also in the middle of a frame. For a plain HTTP watch it
	// counts the body, in whole lines.
	// SaySuccess takes place between two frames.
	N int64

	// After is how long after the 101 AfterTime is.
	After time.Duration
	// InFlight limits AtEnd and LoseTail to sessions whose command ended before the end of its stdin had come; where the protocol
	// has no half-close that is every session with stdin. Servers lie then, on every path, in a few of a hundred trials:
	// Success in place of the code (SaySuccess), no Status (CloseFrame), no output or half of it (LoseTail), also with Success.
	InFlight bool
	// Kill has the action kill the command, too.
	Kill bool

	// RefuseCommand limits the fault to execs for whose command it returns
	// true, and refuses those as an admission policy does (see policyDenial),
	// unless Code, Refusal or Do is set. Rights and the pod are checked first.
	RefuseCommand func(args []string) bool

	// IgnoreSelectors makes lists and watches return all objects of the
	// namespace, as the response cache of a dashboard may.
	IgnoreSelectors bool

	// Delay is added before each message to the client.
	Delay time.Duration
	// DropPongs leaves pings without an answer.
	DropPongs bool
	// ErrorChannel, if not nil, is sent on channel 3 in place of the Status: hostile text, a huge one, no JSON at all.
	ErrorChannel []byte

	// Rate makes the link to the client slow: so many bytes a second. As on a real one the server does not notice: up to 4 MiB
	// lie in flight, and long before the client has them it has sent the Status and closed. Bytes in flight count as sent.
	Rate int64
	// LateReset answers the first byte that comes from the client after the close, a ping for one, with an RST. It destroys
	// whatever of output, Status and close is still in flight: what the client's kernel has not got yet. Up to 4 MiB wait for a
	// client that does not read, or for Rate. (What its kernel has got, some 128 KiB at first, the client reads still.)
	LateReset bool
	// StatusDeadline is how long the client has, from the command's end, to take in all that is in flight (see LateReset).
	// Then the connection is reset. The API server means it to be 10 s (writeErrorDeadline in pkg/util/proxy). 0: for ever.
	StatusDeadline time.Duration

	// Withhold applies to requests that create a pod: the pod is created, and
	// the request never answered.
	Withhold bool

	// NotRunning says that there is no such container, as a kubelet does for a moment that starts it again.
	NotRunning bool
	// StartAfter is how long after the 101 the command starts, on real servers some 50 ms. Stdin that comes before waits, so
	// that also of a command that ends at once it is certain that endless stdin lies unread (see Config.Gentle).
	StartAfter time.Duration
	// LoseStdin loses all stdin of a command without a tty, from the start.
	LoseStdin bool
	// DropStdin loses stdin as containerd does (containerd#13934): a command without a tty whose stdout or stderr nobody holds
	// open any more (`cat > FILE`, when the shell execs it) gets no more of it, and sees its end. Stdin comes only when the
	// command has waited for it for some 60 ms, so that one that gives up its outputs first gets nothing at all.
	DropStdin bool
	// LoseTail loses what the command wrote in its last LoseTail; the Status is not touched. All output is so much late.
	LoseTail time.Duration
}

// Action is what a Fault does.
type Action int

// The actions. Where no message is defined for the moment, as for CloseFrame at AtRequest, the connection is closed.
const (
	Nothing    Action = iota
	FIN               // end the TCP stream politely, in the middle of whatever was being said; no close frame, no close_notify
	RST               // reset the TCP connection
	CloseFrame        // close frame 1000 without any Status
	Hang              // AtRequest: never answer. AtEnd: never send the Status nor close. Else: StallRead and StallWrite
	SaySuccess        // the Status Success, then a polite close, whatever became of the command; it goes on unless Kill
	StallRead         // read nothing more
	StallWrite        // write nothing more, pongs included
	KillPod           // delete the pod (grace period 0) that the request names, and go on
	DropAll           // Restart
)

// Moment is when a Fault acts.
type Moment int

// The moments.
const (
	AtRequest     Moment = iota // in place of an answer
	AfterSent                   // after N bytes to the client; 0 is right after the 101
	AfterReceived               // after N bytes from the client; 0 is right after the 101
	AtEnd                       // when the command has ended and its output is sent, in place of the Status
	AfterTime                   // After the 101
)

var errFault = errors.New("cut by an injected fault")

// faults are those in force.
type faults struct {
	mu   sync.Mutex
	list []*injected
}

type injected struct {
	Fault
	left int
}

// active is a fault that applies to one request. A nil one does nothing.
type active struct {
	Fault
	sent int64 // of a plain HTTP watch
}

// Inject puts a fault in force until undo is called, or it is used up, or Reset. Requests that it has hit keep it.
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

// take returns the fault that applies to a request, and uses it up by one.
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
	exec := strings.HasSuffix(path, "/exec")
	if f.RefuseCommand != nil && (!exec || !f.RefuseCommand(r.URL.Query()["command"])) {
		return false
	}
	if f.Path == "" {
		return exec || strings.HasSuffix(path, "/attach")
	}
	return strings.Contains(path, f.Path)
}

// denies reports whether an admission policy refuses the request.
func (f *active) denies() bool { return f != nil && f.RefuseCommand != nil && f.Do == Nothing }

func (f *active) ignoresSelectors() bool { return f != nil && f.IgnoreSelectors }

func (f *active) at(when Moment) bool { return f != nil && f.Do != Nothing && f.When == when }

// atRequest applies what the fault does before the request is handled, and
// reports whether the request has been answered.
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
	case f.at(AtRequest):
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
	case DropAll:
		s.Restart()
	case Hang, StallRead, StallWrite:
		<-r.Context().Done()
	case RST:
		rawOf(r).reset()
	default:
		_ = rawOf(r).Close()
	}
	return true
}

func (f *active) killPod(s *Server, r *http.Request) {
	if q, ok := parsePath(r); ok {
		_ = s.deletePod(q.key(), 0) // it may be gone already
	}
}

// beforeLine does what is due before n more bytes of a plain HTTP watch.
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
	if f.at(AfterSent) && f.sent >= f.N {
		switch f.Do {
		case RST:
			rawOf(r).reset()
		case FIN:
			rawOf(r).fin()
		case Hang, StallRead, StallWrite:
			<-r.Context().Done()
		}
		return errFault
	}
	f.sent += int64(n)
	return nil
}
