//go:build unix

package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"kshell/internal/sandbox"
)

func hasStatus(protocol string) bool { return protocol != v1 && protocol != v1base64 }

func TestExec_StreamsAndCode(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, p := range allProtocols {
		t.Run(p, func(t *testing.T) {
			r := dial(t, s, execPath("web", execQuery("oe", "sh", "-c", "echo out; echo err >&2; exit 7")), p).finish()
			r.checkClosed(t)
			if r.out != "out\n" || r.err != "err\n" {
				t.Errorf("stdout %q, stderr %q", r.out, r.err)
			}
			if r.first != 1 || r.last != 3 {
				t.Errorf("first message on channel %d, last on %d; want 1 and 3", r.first, r.last)
			}
			message := "command terminated with non-zero exit code: error executing command " +
				"[sh -c echo out; echo err >&2; exit 7], exit code 7"
			want := message
			if hasStatus(p) {
				want = `{"metadata":{},"status":"Failure","message":"` + strings.NewReplacer(">", `\u003e`, "&", `\u0026`).
					Replace(message) +
					`","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}`
			}
			if diff := cmp.Diff(want, r.status); diff != "" {
				t.Errorf("channel 3 (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExec_Success(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, p := range allProtocols {
		r := dial(t, s, execPath("web", execQuery("oe", "true")), p).finish()
		r.checkClosed(t)
		want := ""
		if hasStatus(p) {
			want = `{"metadata":{},"status":"Success"}`
		}
		if r.status != want {
			t.Errorf("%s: channel 3 has %q, want %q", p, r.status, want)
		}
	}
}

func TestExec_ExitCodes(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	for code := range 256 {
		p := []string{v5, v4, v4base64}[code%3]
		r := dial(t, s, execPath("web", execQuery("oe", "sh", "-c", fmt.Sprint("exit ", code))), p).finish()
		if r.code() != code {
			t.Errorf("%s: code %d arrived as %d: %s %v", p, code, r.code(), r.status, r.end)
		}
	}
	if r := dial(t, s, execPath("web", execQuery("o", "sh", "-c", "kill -9 $$")), v5).finish(); r.code() != 137 {
		t.Errorf("a killed command's code is %d, want 137", r.code())
	}
}

func TestSubprotocol_Selection(t *testing.T) {
	s := start(t, sandbox.Config{})
	tests := []struct {
		offer []string
		want  string // "403": refused with an empty body
	}{
		{[]string{v5}, v5},
		{[]string{v4, v5}, v5},
		{[]string{v1, v1base64, v4, "x", v5}, v5},
		{[]string{v4, v1}, v4},
		{[]string{v1, v4}, v1},
		{[]string{v1base64, v4, v1}, v1base64},
		{[]string{v4base64, v4}, v4base64},
		{[]string{"unknown", "v3.channel.k8s.io", v4base64}, v4base64},
		{[]string{"base64.binary.k8s.io", v4}, v4},
		{nil, ""},
		{[]string{"v2.channel.k8s.io"}, "403"},
		{[]string{"v3.channel.k8s.io"}, "403"},
		{[]string{"v5.base64.channel.k8s.io"}, "403"},
		{[]string{"binary.k8s.io"}, "403"},
		{[]string{"base64.binary.k8s.io"}, "403"},
		{[]string{strings.ToUpper(v4)}, "403"},
		{[]string{strings.ToUpper(v5)}, "403"},
		{[]string{"unknown", "other"}, "403"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.offer, ","), func(t *testing.T) {
			c, resp, body, err := tryDial(t, s, "sandbox", execPath("web", execQuery("o", "echo", "hi")), tt.offer...)
			if tt.want == "403" {
				if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden || len(body) != 0 {
					t.Fatalf("got %v %v %q, want 403 with an empty body", err, resp, body)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.protocol != tt.want {
				t.Errorf("selected %q, want %q", c.protocol, tt.want)
			}
			if r := c.finish(); r.out != "hi\n" {
				t.Errorf("stdout %q by %q", r.out, c.protocol)
			}
		})
	}
}

func TestExec_FirstMessage(t *testing.T) {
	s := start(t, sandbox.Config{})
	for streams, want := range map[string]byte{"ioe": 1, "oe": 1, "e": 2, "ie": 2, "i": 3, "ot": 1, "et": 0} {
		for _, p := range allProtocols {
			c, resp, body, err := tryDial(t, s, "sandbox", execPath("web", execQuery(streams, "true")), p)
			if want == 0 { // with a tty, stderr does not count, so that no stream is requested
				if err == nil || resp.StatusCode != http.StatusBadRequest {
					t.Errorf("%s %s: got %v %v %q, want 400", p, streams, err, resp, body)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s %s: %v %s", p, streams, err, body)
				continue
			}
			if r := c.finish(); r.first != want {
				t.Errorf("%s %s: first message on channel %d, want %d", p, streams, r.first, want)
			}
		}
	}
}

func TestStdin_HalfClose(t *testing.T) {
	s := start(t, sandbox.Config{})
	c := dial(t, s, execPath("web", execQuery("io", "cat")), v5)
	c.send(0, "all of it")
	c.halfClose()
	if r := c.finish(); r.out != "all of it" || r.code() != 0 {
		t.Errorf("stdout %q, code %d", r.out, r.code())
	}

	c = dial(t, s, execPath("web", execQuery("io", "cat")), v4)
	c.send(0, "before")
	c.halfClose()
	c.send(0, "after")
	got := ""
	for got != "beforeafter" {
		_, data, err := c.read()
		if err != nil {
			t.Fatalf("v4 ended after %q: %v", got, err)
		}
		got += string(data)
	}
}

func TestTTY_NoStderr(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, p := range allProtocols {
		c := dial(t, s,
			execPath("web", execQuery("ioet", "sh", "-c", "test -t 0 && test -t 2 && read x && stty size && echo $TERM >&2")),
			p)
		c.send(4, `{"Width":133,"Height":44}`)
		waitSession(c.ctx, t, s, func(ses sandbox.Session) bool { return ses.Subprotocol == p && len(ses.Sizes) == 1 })
		c.send(0, "\n")
		if r := c.finish(); r.out != "\r\n44 133\r\nxterm\r\n" || r.err != "" {
			t.Errorf("%s: stdout %q, stderr %q, %s", p, r.out, r.err, r.status)
		}
	}
}

func TestTTY_Resize(t *testing.T) {
	s := start(t, sandbox.Config{})
	c := dial(t, s,
		execPath("web", execQuery("iot", "sh", "-c", `trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done`)),
		v5)
	got := ""
	waitFor := func(want string) {
		for !strings.Contains(got, want) {
			_, data, err := c.read()
			if err != nil {
				t.Fatalf("%v after %q", err, got)
			}
			got += string(data)
		}
	}
	waitFor("ready")
	c.send(4, `{"Width":100,"Height":30}`)
	waitFor("30 100")
	c.send(4, `{"Width":99,"Height":31}`)
	waitFor("31 99")
	waitSession(c.ctx, t, s, func(ses sandbox.Session) bool { return len(ses.Sizes) == 2 })
	want := []sandbox.Size{{Width: 100, Height: 30}, {Width: 99, Height: 31}}
	if diff := cmp.Diff(want, s.Sessions()[0].Sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
}

func TestExec_CommandCannotRun(t *testing.T) {
	s := start(t, sandbox.Config{})
	plain := filepath.Join(s.Dir("default", "web", "web"), "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"no-such-command": `exec: "no-such-command": executable file not found in $PATH`,
		"/no/such":        `exec: "/no/such": stat /no/such: no such file or directory`,
		"./plain":         `exec: "./plain": permission denied`,
	} {
		for _, p := range allProtocols {
			r := dial(t, s, execPath("web", execQuery("oe", command)), p).finish()
			r.checkClosed(t)
			if !strings.Contains(r.status, strings.ReplaceAll(want, `"`, quoteIn(p))) {
				t.Errorf("%s %s: %s", p, command, r.status)
			}
			if hasStatus(p) &&
				(!strings.Contains(r.status, `"reason":"InternalError"`) || !strings.Contains(r.status, `"code":500`)) {
				t.Errorf("%s %s: no InternalError 500: %s", p, command, r.status)
			}
		}
	}
}

// quoteIn returns how a quotation mark is written on the error channel: escaped
// if the protocol sends a Status in JSON.
func quoteIn(protocol string) string {
	if hasStatus(protocol) {
		return `\"`
	}
	return `"`
}

func TestExec_Refused(t *testing.T) {
	s := start(t, sandbox.Config{})
	in := func(pod, container string, streams string) string {
		q := execQuery(streams, "true")
		if container != "" {
			q.Set("container", container)
		}
		return execPath(pod, q)
	}
	attach := func(path string) string { return strings.Replace(path, "/exec?", "/attach?", 1) }
	tests := []struct {
		name, path string
		code       int
		text       string
		v5text     string // with v5: a part of the Failure that follows the 101; "" if there is no 101
	}{
		{"no pod", in("nope", "", "o"), 404, `"message":"pods \"nope\" not found"`, ""},
		{"no namespace", strings.Replace(in("web", "", "o"), "/default/", "/nowhere/", 1), 404, `"reason":"NotFound"`, ""},
		{
			"no container",
			in("web", "nope", "o"),
			400,
			`"message":"container nope is not valid for pod web","reason":"BadRequest"`,
			"",
		},
		{
			"no container named",
			in("multi", "", "o"),
			400,
			`a container name must be specified for pod multi, choose one of: [a b]`,
			"",
		},
		{"annotation is ignored", in("annotated", "", "o"), 400, `choose one of: [side main]`, ""},
		{"not scheduled", in("pending", "", "o"), 400, `pod pending does not have a host assigned`, ""},
		{"crashing", in("crash", "", "o"), 500, "container not found (\"crash\")\n", `container not found (\"crash\")`},
		{"pulling", in("pulling", "", "o"), 500, "container not found (\"pulling\")\n", `container not found (\"pulling\")`},
		{
			"finished init",
			in("with-init", "init", "o"),
			500,
			"container not found (\"init\")\n",
			`container not found (\"init\")`,
		},
		{
			"attach to crashing",
			attach(in("crash", "", "o")),
			500,
			"container crash not found in pod crash_default\n",
			`container crash not found in pod crash_default`,
		},
		{"no stream", in("web", "", ""), 400, "you must specify at least 1 of stdin, stdout, stderr\n", ""},
	}
	for _, tt := range tests {
		for _, p := range []string{v4, v5} {
			t.Run(tt.name+" "+p, func(t *testing.T) {
				c, resp, body, err := tryDial(t, s, "sandbox", tt.path, p)
				if p == v5 && tt.v5text != "" {
					if err != nil {
						t.Fatalf("%v %s", err, body)
					}
					r := c.finish()
					r.checkClosed(t)
					if r.code() != -1 || !strings.Contains(r.status, tt.v5text) {
						t.Errorf("channel 3: %s", r.status)
					}
					return
				}
				if err == nil || resp.StatusCode != tt.code || !strings.Contains(string(body), tt.text) {
					t.Errorf("got %v %v %s", err, resp, body)
				}
				plain := strings.HasSuffix(tt.text, "\n")
				if ct := resp.Header.Get("Content-Type"); plain != strings.HasPrefix(ct, "text/plain") {
					t.Errorf("Content-Type %s", ct)
				}
			})
		}
	}
}

func TestExec_ContainerKinds(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, c := range [][2]string{
		{"multi", "a"},
		{"multi", "b"},
		{"annotated", "main"},
		{"with-init", "main"},
		{"with-init", "sidecar"},
		{"debugged", "debugger"},
		{"debugged", "main"},
		{"db-0", "db"},
		{"web", "web"},
	} {
		q := execQuery("o", "sh", "-c", "echo $HOSTNAME; pwd; echo $HOME")
		q.Set("container", c[1])
		dir := s.Dir("default", c[0], c[1])
		if r := dial(t, s, execPath(c[0], q), v5).finish(); r.out != c[0]+"\n"+dir+"\n"+dir+"\n" {
			t.Errorf("%v: %q %s", c, r.out, r.status)
		}
	}
}

func TestQuery_InvalidBooleans(t *testing.T) {
	s := start(t, sandbox.Config{})
	q := url.Values{
		"command": {"sh", "-c", "echo out; echo err >&2"},
		"stdout":  {"maybe"},
		"stderr":  {""},
		"stdin":   {"0"},
		"tty":     {"False"},
	}
	if r := dial(t, s, execPath("web", q), v5).finish(); r.out != "out\n" || r.err != "err\n" {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
}

func TestAuth_Rights(t *testing.T) {
	s := start(t, sandbox.Config{})
	cannot := func(user, verb, resource string) string {
		return fmt.Sprintf(
			`pods \"web\" is forbidden: User \"%s\" cannot %s resource \"%s\" in API group \"\" in the namespace \"default\"`,
			user, verb, resource)
	}
	tests := []struct{ user, get, exec string }{ // get and exec: the error message, or ""
		{"sandbox", "", ""},
		{"none", cannot("none", "get", "pods"), cannot("none", "get", "pods/exec")},
		{"get-only", "", `"message":"pods \"web\" is forbidden: ","reason":"Forbidden"`},
		{"create-only", "", cannot("create-only", "get", "pods/exec")},
		{"exec-only", cannot("exec-only", "get", "pods"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.user, func(t *testing.T) {
			resp, err := httpClient(t, s, tt.user).Get(s.URL() + "/api/v1/namespaces/default/pods/web")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			checkRefusal(t, "get", resp, body, tt.get)
			for _, p := range []string{v5, v4} {
				_, resp, body, err := tryDial(t, s, tt.user, execPath("web", execQuery("o", "true")), p)
				if (err == nil) != (tt.exec == "") {
					t.Errorf("exec: %v", err)
				}
				checkRefusal(t, "exec", resp, body, tt.exec)
			}
		})
	}
}

func checkRefusal(t *testing.T, what string, resp *http.Response, body []byte, refusal string) {
	t.Helper()
	if refusal == "" {
		if resp.StatusCode >= 400 {
			t.Errorf("%s: %s %s", what, resp.Status, body)
		}
		return
	}
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), refusal) {
		t.Errorf("%s: %s %s, want %s", what, resp.Status, body, refusal)
	}
}

func TestAuth_Tokens(t *testing.T) {
	s := start(t, sandbox.Config{})
	cfg := restConfig(t, s, "sandbox")
	cfg.BearerToken = ""
	anonymous := &http.Client{Transport: withOwnTransport(t, cfg).Transport}
	inProtocol := func(token string) string {
		return "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(token))
	}
	admin := s.Token("admin")
	tests := []struct {
		name     string
		header   string
		offer    []string
		code     int
		contains string
	}{
		{"none", "", []string{v5}, 403, `User \"system:anonymous\" cannot get resource \"pods/exec\"`},
		{"wrong", "Bearer wrong", []string{v5}, 401, `"message":"Unauthorized","reason":"Unauthorized","code":401`},
		{"right", "Bearer " + admin, []string{v5}, 101, ""},
		{"as a subprotocol", "", []string{inProtocol(admin), v4}, 101, ""},
		{"as the only subprotocol", "", []string{inProtocol(admin)}, 401, "Unauthorized"},
		{"wrong, as a subprotocol", "", []string{inProtocol("wrong"), v4}, 401, "Unauthorized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			if tt.header != "" {
				h.Set("Authorization", tt.header)
			}
			ws, resp, err := websocket.Dial(t.Context(), s.URL()+execPath("web", execQuery("o", "true")), &websocket.DialOptions{
				HTTPClient: anonymous, HTTPHeader: h, Subprotocols: tt.offer,
			})
			if err == nil {
				defer func() { _ = ws.CloseNow() }()
			}
			if resp == nil || resp.StatusCode != tt.code {
				t.Fatalf("%v %v, want %d", err, resp, tt.code)
			}
			if err != nil {
				if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), tt.contains) {
					t.Errorf("body %s", body)
				}
			}
		})
	}
}

func TestExec_NoWebSocket(t *testing.T) {
	s := start(t, sandbox.Config{})
	client := httpClient(t, s, "sandbox")
	url := s.URL() + execPath("web", execQuery("o", "true"))
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		want, text := 400, "Upgrade request required"
		if method == http.MethodPut {
			want, text = 405, "MethodNotAllowed"
		}
		if resp.StatusCode != want || !strings.Contains(string(body), text) {
			t.Errorf("%s: %s %s", method, resp.Status, body)
		}
	}
}
