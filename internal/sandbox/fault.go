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
	N int64

	// Delay is added before each message to the client.
	Delay time.Duration
	// DropPongs leaves pings without an answer.
	DropPongs bool
	// ErrorChannel, if not nil, is sent on channel 3 in place of the Status: hostile text, a huge one, no JSON at all.
	ErrorChannel []byte
	// LoseStdin loses all stdin of a command without a tty, as a runtime does once the command gave up its stdout.
	LoseStdin bool
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
		if !in.matches(r.URL.Path) {
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

func (f Fault) matches(path string) bool {
	if f.Path == "" {
		return strings.HasSuffix(path, "/exec") || strings.HasSuffix(path, "/attach")
	}
	return strings.Contains(path, f.Path)
}

func (f *active) at(when Moment) bool { return f != nil && f.Do != Nothing && f.When == when }

// atRequest does what is to be done in place of an answer, and tells whether that was it.
func (f *active) atRequest(s *Server, w http.ResponseWriter, r *http.Request) bool {
	if f == nil {
		return false
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
