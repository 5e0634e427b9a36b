//go:build unix

package sandbox_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"kshell/internal/sandbox"
)

const hostile = "\x1b[2J\x1b]0;owned\a\r\nkshell: all is well\u202e\x00\x9b31m"

func TestFault_Refusals(t *testing.T) {
	s := start(t, sandbox.Config{})
	tests := []struct {
		name  string
		fault sandbox.Fault
		code  int
		kind  string
		body  string
	}{
		{
			"gateway page",
			sandbox.Fault{Code: 502, Body: "<html>bad</html>", ContentType: "text/html"},
			502,
			"text/html",
			"<html>bad</html>",
		},
		{"empty 403", sandbox.Fault{Code: 403}, 403, "", ""},
		{"200 without an upgrade", sandbox.Fault{Code: 200, Body: "fine"}, 200, "text/plain; charset=utf-8", "fine"},
		{
			"any Status",
			sandbox.Fault{Refusal: &metav1.Status{Code: 429, Reason: "TooManyRequests", Message: hostile}},
			429,
			"application/json",
			"",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.fault.Times = 1
			s.Inject(tt.fault)
			_, resp, body, err := tryDial(t, s, "sandbox", execPath("web", execQuery("o", "true")), v5)
			if err == nil || resp.StatusCode != tt.code || resp.Header.Get("Content-Type") != tt.kind {
				t.Fatalf("%v %v", err, resp)
			}
			if tt.fault.Refusal != nil {
				var st metav1.Status
				if err := json.Unmarshal(body, &st); err != nil || st.Kind != "Status" || st.Status != "Failure" ||
					!strings.HasPrefix(st.Message, hostile[:10]) {
					t.Errorf("%v: %s", err, body)
				}
			} else if string(body) != tt.body {
				t.Errorf("body %q, want %q", body, tt.body)
			}
			if r := dial(t, s, execPath("web", execQuery("o", "true")), v5).finish(); r.code() != 0 {
				t.Errorf("the fault applies to the next request: %s", r.status)
			}
		})
	}
}

func TestFault_AtRequest(t *testing.T) {
	s := start(t, sandbox.Config{})
	for name, f := range map[string]sandbox.Fault{
		"rst": {Do: sandbox.RST}, "fin": {Do: sandbox.FIN}, "drop": {Do: sandbox.DropAll},
	} {
		f.Times = 1
		s.Inject(f)
		_, resp, _, err := tryDial(t, s, "sandbox", execPath("web", execQuery("o", "true")), v5)
		if err == nil || resp != nil {
			t.Errorf("%s: %v %v, want no answer", name, resp, err)
		}
		if name != "fin" && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
	}
	s.Inject(sandbox.Fault{Do: sandbox.Hang, Times: 1})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, _, err := websocket.Dial(ctx, s.URL()+execPath("web", execQuery("o", "true")), &websocket.DialOptions{
		HTTPClient: httpClient(t, s, "sandbox"), Subprotocols: []string{v5},
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
}

func TestFault_Subprotocol(t *testing.T) {
	s := start(t, sandbox.Config{})
	none := ""
	b64 := v4base64
	s.Inject(sandbox.Fault{Subprotocol: &none, Times: 1})
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, s.URL()+execPath("web", execQuery("o", "echo", "hi")), &websocket.DialOptions{
		HTTPClient: httpClient(t, s, "sandbox"), Subprotocols: []string{v5},
	})
	if err == nil {
		defer func() { _ = ws.CloseNow() }()
	}
	if resp == nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Protocol") != "" {
		t.Errorf("none: %v %v", resp, err)
	}
	s.Inject(sandbox.Fault{Subprotocol: &b64, Times: 1})
	c, _, _, err := tryDial(t, s, "sandbox", execPath("web", execQuery("o", "echo", "hi")), v5, v4base64)
	if err != nil {
		t.Fatal(err)
	}
	if r := c.finish(); c.protocol != b64 || r.out != "hi\n" {
		t.Errorf("forced: %q %q", c.protocol, r.out)
	}
}

func TestFault_CutAtByte(t *testing.T) {
	s := start(t, sandbox.Config{})
	// Byte n is in the middle of a message: the first message has 3 bytes, and
	// a message with 32 KiB of data has a frame header of 4 bytes and a channel
	// byte.
	const n = 100_000
	for name, do := range map[string]sandbox.Action{"rst": sandbox.RST, "fin": sandbox.FIN, "close": sandbox.CloseFrame} {
		s.Inject(sandbox.Fault{Do: do, When: sandbox.AfterSent, N: n, Times: 1})
		c := dial(t, s, execPath("web", execQuery("o", "cat", "/dev/zero")), v5)
		r := c.finish()
		if r.status != "" {
			t.Errorf("%s: a Status: %s", name, r.status)
		}
		closed := websocket.CloseStatus(r.end) == websocket.StatusNormalClosure
		if closed != (name == "close") {
			t.Errorf("%s: ended with %v", name, r.end)
		}
		if name == "rst" && !errors.Is(r.end, syscall.ECONNRESET) && !errors.Is(r.end, io.ErrUnexpectedEOF) {
			t.Errorf("rst: ended with %v", r.end)
		}
		if name != "close" && len(r.out) > n {
			t.Errorf("%s: %d bytes were received, want a cut after %d", name, len(r.out), n)
		}
		if name == "fin" && len(r.out) < n-33<<10 {
			t.Errorf("fin: only %d bytes of %d were received", len(r.out), n)
		}
	}
	s.Inject(sandbox.Fault{Do: sandbox.RST, When: sandbox.AfterReceived, N: 50_000, Times: 1})
	c := dial(t, s, execPath("web", execQuery("io", "cat")), v5)
	for c.write(0, make([]byte, 1000)) == nil {
	}
	waitSession(c.ctx, t, s, func(ses sandbox.Session) bool { return !ses.Open })
	if got := s.Sessions()[3].StdinBytes; got < 40_000 || got > 50_000 {
		t.Errorf("%d bytes of stdin were received, want just under 50000", got)
	}
}

func TestFault_CloseWithoutStatus(t *testing.T) {
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{Do: sandbox.CloseFrame, When: sandbox.AtEnd})
	r := dial(t, s, execPath("web", execQuery("o", "echo", "all")), v5).finish()
	r.checkClosed(t)
	if r.out != "all\n" || r.status != "" {
		t.Errorf("%q, %q", r.out, r.status)
	}
}

func TestFault_Stalls(t *testing.T) {
	s := start(t, sandbox.Config{})
	quiet := func(c *client, why string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(c.ctx, 200*time.Millisecond)
		defer cancel()
		c.ctx = ctx
		if r := c.finish(); !errors.Is(r.end, context.DeadlineExceeded) || r.status != "" {
			t.Errorf("%s: %+v", why, r)
		}
	}
	s.Inject(sandbox.Fault{Do: sandbox.StallWrite, When: sandbox.AfterSent, Times: 1})
	quiet(dial(t, s, execPath("web", execQuery("o", "echo", "x")), v5), "writes")
	s.Inject(sandbox.Fault{Do: sandbox.Hang, When: sandbox.AtEnd, Times: 1})
	quiet(dial(t, s, execPath("web", execQuery("o", "echo", "x")), v5), "status")
	s.Inject(sandbox.Fault{Do: sandbox.StallRead, When: sandbox.AfterReceived, N: 1000, Times: 1})
	c := dial(t, s, execPath("web", execQuery("io", "cat")), v5)
	c.send(0, strings.Repeat("x", 2000))
	quiet(c, "reads")
	if got := s.Sessions()[2].StdinBytes; got != 0 {
		t.Errorf("%d bytes of a stalled message were received", got)
	}
}

func TestFault_Delay(t *testing.T) {
	s := start(t, sandbox.Config{})
	const d = 50 * time.Millisecond
	s.Inject(sandbox.Fault{Delay: d})
	begin := time.Now()
	r := dial(t, s, execPath("web", execQuery("o", "echo", "x")), v5).finish()
	if took := time.Since(begin); took < 4*d || r.code() != 0 { // the first message, x, the Status, the close
		t.Errorf("four messages took %v; %s", took, r.status)
	}
}

func TestFault_DropPongs(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, drop := range []bool{false, true} {
		undo := s.Inject(sandbox.Fault{DropPongs: drop})
		c := dial(t, s, execPath("web", execQuery("io", "cat")), v5)
		read := make(chan string)
		go func() {
			_, _, _ = c.read()
			_, data, _ := c.read()
			read <- string(data)
			_, _, _ = c.read()
			close(read)
		}()
		soon := testTimeout // the time limit for the pong
		if drop {
			soon = 300 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(c.ctx, soon)
		err := c.ws.Ping(ctx)
		cancel()
		if (err != nil) != drop {
			t.Errorf("drop %v: ping returned %v", drop, err)
		}
		c.send(0, "data")
		if got := <-read; got != "data" {
			t.Errorf("drop %v: %q", drop, got)
		}
		_ = c.ws.CloseNow()
		<-read
		undo()
	}
}

func TestFault_ErrorChannel(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, text := range []string{hostile, "{", `{"status":"Success"`, strings.Repeat("A", 1<<20)} {
		undo := s.Inject(sandbox.Fault{ErrorChannel: []byte(text)})
		r := dial(t, s, execPath("web", execQuery("o", "true")), v4).finish()
		r.checkClosed(t)
		if r.status != text {
			t.Errorf("channel 3 has %.40q (%d bytes), want %.40q", r.status, len(r.status), text)
		}
		undo()
	}
}

func TestFault_KillPod(t *testing.T) {
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{Do: sandbox.KillPod, When: sandbox.AfterSent, N: 100_000})
	r := dial(t, s, execPath("db-0", execQuery("o", "cat", "/dev/zero")), v5).finish()
	if r.code() != 137 {
		t.Errorf("ended with %s %v, want 137", r.status, r.end)
	}
}

func TestFault_LoseStdin(t *testing.T) {
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{LoseStdin: true})
	c := dial(t, s, execPath("web", execQuery("io", "sh", "-c", waitForGo+"wc -c")), v5)
	c.send(0, "lost")
	c.halfClose()
	writeGo(t, s)
	if r := c.finish(); strings.TrimSpace(r.out) != "0" || r.code() != 0 {
		t.Errorf("%q %s", r.out, r.status)
	}
}

func TestDown_ProcessesSurvive(t *testing.T) {
	s := start(t, sandbox.Config{})
	c := dial(t, s, execPath("web", execQuery("io", "sh", "-c", "echo up; sleep 1000")), v5)
	c.readUntil("up")
	up := s.Down()
	if _, _, err := c.read(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the session ended with %v, want a reset", err)
	}
	if _, _, _, err := tryDial(t, s, "sandbox", execPath("web", execQuery("o", "true")), v5); err == nil {
		t.Error("a server that is down answers")
	}
	up()
	if r := dial(t, s, execPath("web", execQuery("o", "true")), v5).finish(); r.code() != 0 {
		t.Errorf("after the restart: %s", r.status)
	}
	if pid := s.Sessions()[0].Pid; !slices.Contains(s.Pids("default", "web", "web"), pid) {
		t.Errorf("process %d did not survive", pid)
	}
}

// A client may reset its connection while the server sends the 101. Close must
// not wait for such a connection.
func TestClose_ResetDuringUpgrade(t *testing.T) {
	s := start(t, sandbox.Config{Gentle: true})
	cfg := restConfig(t, s, "sandbox")
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(s.URL(), "https://")
	if tlsConfig.ServerName, _, err = net.SplitHostPort(host); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		raw, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(raw, tlsConfig)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
			"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
			execPath("web", execQuery("o", "true")), host, cfg.BearerToken, v5); err != nil {
			t.Fatal(err)
		}
		_ = raw.(*net.TCPConn).SetLinger(0)
		_ = raw.Close()
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testTimeout):
		t.Fatal("Close did not return")
	}
}

func TestFault_Matching(t *testing.T) {
	s := start(t, sandbox.Config{})
	get := func(path string) int {
		t.Helper()
		resp, err := httpClient(t, s, "sandbox").Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	undo := s.Inject(sandbox.Fault{Path: "/pods/web", Code: 503})
	s.Inject(sandbox.Fault{Path: "/version", Code: 504, Times: 2})
	s.Inject(sandbox.Fault{Path: "/api", Code: 505})
	for i, want := range []struct {
		path string
		code int
	}{
		{"/version", 504},
		{"/api/v1/namespaces/default/pods/web", 503},
		{"/version", 504},
		{"/version", 200},
		{"/api/v1/namespaces/default/pods/web", 503},
		{"/api/v1/namespaces", 505},
	} {
		if got := get(want.path); got != want.code {
			t.Errorf("request %d, %s: %d, want %d", i, want.path, got, want.code)
		}
	}
	undo()
	if got := get("/api/v1/namespaces/default/pods/web"); got != 505 {
		t.Errorf("after undo: %d", got)
	}
	s.Reset()
	if got := get("/api/v1/namespaces/default/pods/web"); got != 200 {
		t.Errorf("after Reset: %d", got)
	}
	if st := s.Stats(); st.Requests != 8 || st.Connections != 8 {
		t.Errorf("stats: %+v", st)
	}
}

func TestFault_CutsWatch(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, do := range []sandbox.Action{sandbox.RST, sandbox.FIN, sandbox.CloseFrame} {
		s.Inject(sandbox.Fault{Path: "/pods", Do: do, When: sandbox.AfterSent, N: 2000, Times: 1})
		w := watchHTTP(t, s, "/api/v1/pods?watch=1")
		n := 0
		for {
			ev, err := w.read()
			if err != nil {
				if errors.Is(err, io.EOF) != (do == sandbox.CloseFrame) {
					t.Errorf("%d: ended with %v", do, err)
				}
				break
			}
			if ev.Type != watch.Added {
				t.Errorf("%d: %s", do, ev.Type)
			}
			n++
		}
		if n == 0 && do == sandbox.CloseFrame || n > 5 {
			t.Errorf("%d: %d events", do, n)
		}
	}
}

func TestAddPod_HostileNames(t *testing.T) {
	s := start(t, sandbox.Config{Empty: true})
	pod := &corev1.Pod{}
	pod.Name = hostile
	pod.Spec.Containers = []corev1.Container{{Name: "../" + hostile}, {Name: strings.Repeat("x", 300)}}
	if err := s.AddPod(pod); err != nil {
		t.Fatal(err)
	}
	var list corev1.PodList
	callAPI(t, s, http.MethodGet, "/api/v1/namespaces/default/pods", nil, &list)
	if len(list.Items) != 1 || !strings.HasPrefix(list.Items[0].Name, hostile[:15]) ||
		!strings.Contains(list.Items[0].Spec.Containers[0].Name, "owned") {
		t.Errorf("%+v", list.Items)
	}
}

// RotateLog makes the log begin with the next line. DeleteLog makes requests
// for the log fail until the log is opened again; the log then begins with the
// next line.
func TestFault_LoseLog(t *testing.T) {
	s := start(t, sandbox.Config{})
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "talker"}, Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Name: "c", Command: []string{"sh", "-c", "while read x; do echo $x; done"}, Stdin: true},
	}}}
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	get := func() (int, string) {
		t.Helper()
		resp, err := httpClient(t, s, "sandbox").Get(s.URL() + "/api/v1/namespaces/default/pods/talker/log")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	c := dial(t, s, "/api/v1/namespaces/default/pods/talker/attach?stdin=true&stdout=true", v5)
	say := func(word string) {
		t.Helper()
		c.send(0, word+"\n")
		c.readUntil(word)
	}
	say("one")
	s.Inject(sandbox.Fault{Path: "/log", Do: sandbox.RotateLog, When: sandbox.AtRequest, Times: 1})
	if code, text := get(); code != http.StatusOK || text != "" {
		t.Errorf("rotated: %d %q", code, text)
	}
	say("two")
	if code, text := get(); code != http.StatusOK || text != "two\n" {
		t.Errorf("after the rotation: %d %q", code, text)
	}
	s.Inject(sandbox.Fault{Path: "/log", Do: sandbox.DeleteLog, When: sandbox.AtRequest, Times: 1})
	if code, text := get(); code != http.StatusBadRequest {
		t.Errorf("deleted: %d %q", code, text)
	}
	say("lost")
	for end := time.Now().Add(testTimeout); ; time.Sleep(10 * time.Millisecond) {
		if code, _ := get(); code == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the log was not opened again")
		}
	}
	say("three")
	if code, text := get(); code != http.StatusOK || text != "three\n" {
		t.Errorf("after the deletion: %d %q", code, text)
	}
}
