package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Users is a server and users with few rights. Each user has a context of the
// same name.
type Users struct {
	Program
	ExecOnly       string // may exec, but not get pods
	CreateOnly     string // may only create pods/exec, and so must use SPDY
	None           string // has no rights
	Token          string // the token of the user ExecOnly
	Server         string // host:port
	FalseSuccesses bool   // whether the server may report false successes; see Result.FalseSuccess
}

// Access checks how kshell reaches a server: with few rights, impersonation,
// credentials and proxies; and the status file, completion, settings and the
// environment of a shell.
func Access(t *testing.T, w Users) {
	t.Run("status", w.statuses)
	t.Run("subprotocol for input", w.inputProtocol)
	t.Run("few rights", w.fewRights)
	t.Run("as another", w.impersonation)
	t.Run("credentials", w.credentials)
	t.Run("proxies", w.proxies)
	t.Run("completion", w.completion)
	t.Run("settings", w.settings)
	t.Run("a shell", w.shell)
}

func (w Users) exec(t *testing.T, args ...string) Result {
	t.Helper()
	return w.Run(t, nil, append([]string{"exec"}, args...)...)
}

// checkEnd checks the exit code, stdout, and that stderr contains each string
// in errs. If errs is empty, stderr must be empty.
func (r Result) checkEnd(t *testing.T, code int, out string, errs ...string) {
	t.Helper()
	if r.Code != code || r.Out != out || len(errs) == 0 && r.Err != "" {
		t.Errorf("exit code %d, want %d; stdout %q, stderr %q", r.Code, code, r.Out, r.Err)
	}
	for _, words := range errs {
		if !strings.Contains(r.Err, words) {
			t.Errorf("stderr lacks %q: %q", words, r.Err)
		}
	}
}

// statusRecord is the content of a --status-file.
type statusRecord struct {
	ExitCode                                             int
	Cause, Message, Namespace, Pod, UID, Container, Node string
	Protocol, Mode, Inexact                              string
	StdinBytes, StdoutBytes, StderrBytes                 int64
	Start, Connected, End                                time.Time
}

const v5Only = "--subprotocol=v5.channel.k8s.io"

// inputProtocol checks the subprotocol of a command whose stdin is a regular file.
func (w Users) inputProtocol(t *testing.T) {
	for size, want := range map[int64]string{5: "v4.channel.k8s.io", 64<<10 + 1: "v5.channel.k8s.io"} {
		in, err := zeros(t.TempDir(), size)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = in.Close() }()
		status := filepath.Join(t.TempDir(), "status")
		cmd := w.Command(t.Context(), t, "exec", "-i", "--status-file", status, "web", "--", "wc", "-c")
		cmd.Stdin = in
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != strconv.FormatInt(size, 10) {
			t.Errorf("%d bytes: %v, stdout %q", size, err, out)
		}
		var got statusRecord
		text, err := os.ReadFile(status)
		if err == nil {
			err = json.Unmarshal(text, &got)
		}
		if err != nil || got.Protocol != want || got.StdinBytes != size {
			t.Errorf("%d bytes: %v, want %s; status %s", size, err, want, text)
		}
	}
}

func (w Users) statuses(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want statusRecord
	}{
		"exact": {
			[]string{"-i", v5Only, "web", "--", "sh", "-c", "cat; echo err >&2; exit 7"},
			statusRecord{
				ExitCode: 7, Cause: "exited", Protocol: "v5.channel.k8s.io", Mode: "exact",
				StdinBytes: 5, StdoutBytes: 5, StderrBytes: 4,
			},
		},
		"plain": {
			[]string{"-i", "--exact=never", "web", "--", "sh", "-c", "cat; exit 7"},
			statusRecord{
				ExitCode: 7, Cause: "exited", Protocol: "v5.channel.k8s.io", Mode: "plain", StdinBytes: 5, StdoutBytes: 5,
			},
		},
		"v4": {
			[]string{"--subprotocol=v4.channel.k8s.io", "web", "--", "true"},
			statusRecord{Cause: "exited", Protocol: "v4.channel.k8s.io", Mode: "exact"},
		},
		"no such command": {
			[]string{"web", "--", "no-such-command"},
			statusRecord{
				ExitCode: 127, Cause: "not-found", Protocol: "v5.channel.k8s.io", Mode: "plain",
				Inexact: "the container has no such command, or the command is not executable",
			},
		},
		"no time left": {
			[]string{"--timeout=5s", "web", "--", "sleep", "60"},
			statusRecord{ExitCode: 124, Cause: "timeout", Protocol: "v4.channel.k8s.io", Mode: "exact"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "status")
			for n := 0; ; n++ {
				r := w.Run(t, []byte("input"), append([]string{"exec", "--status-file", file}, c.args...)...)
				if n+1 == MaxFalseSuccesses || !w.FalseSuccesses || c.want.Mode != "plain" || !r.FalseSuccess(t, c.want.ExitCode) {
					break
				}
			}
			text, err := os.ReadFile(file)
			if err != nil || strings.Count(string(text), "\n") != 1 {
				t.Fatalf("%q, %v", text, err)
			}
			var got statusRecord
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			if got.Pod != "web" || got.Namespace != "default" || got.Container != "web" || got.UID == "" || got.Node == "" ||
				(got.ExitCode != 0) != (got.Message != "") {
				t.Errorf("where: %s", text)
			}
			if got.Start.IsZero() || !got.Connected.After(got.Start) || got.End.Before(got.Connected) ||
				time.Since(got.Start) > runTimeout {
				t.Errorf("when: %s", text)
			}
			rest := got
			rest.Message, rest.Namespace, rest.Pod, rest.UID, rest.Container, rest.Node = "", "", "", "", "", ""
			rest.Start, rest.Connected, rest.End = time.Time{}, time.Time{}, time.Time{}
			if rest != c.want {
				t.Errorf("%+v, want %+v", rest, c.want)
			}
		})
	}
}

func (w Users) fewRights(t *testing.T) {
	w.exec(t, "--context", w.ExecOnly, "web", "--", "echo", "hi").checkEnd(t, 0, "hi\n")
	w.exec(t, "-v", "--context", w.ExecOnly, "web", "--", "echo", "hi").checkEnd(t, 0, "hi\n", "pod web was not checked: ")
	w.exec(t, "--context", w.CreateOnly, "web", "--", "sh", "-c", "echo hi; exit 3").checkEnd(t, 3, "hi\n")
	w.exec(t, "-v", "--context", w.CreateOnly, "web", "--", "echo", "hi").
		checkEnd(t, 0, "hi\n", "falling back to SPDY: ", " by SPDY/3.1 v")
	w.exec(t, "--context", w.None, "web", "--", "echo", "hi").checkEnd(t, 255, "", "pods/exec", "hint: ")
}

func (w Users) impersonation(t *testing.T) {
	w.exec(t, "--as", w.ExecOnly, "web", "--", "echo", "hi").checkEnd(t, 0, "hi\n")
	w.exec(t, "-v", "--as", w.ExecOnly, "web", "--", "echo", "hi").checkEnd(t, 0, "hi\n", "pod web was not checked: ")
	w.exec(t, "--as", w.None, "web", "--", "echo", "hi").checkEnd(t, 255, "", "pods/exec")
}

// loginPlugin is a credential plugin that prints a line to stderr and returns
// the token in a file.
const loginPlugin = `#!/bin/sh
echo logging in >&2
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%%s"}}' "$(cat %s)"
`

func (w Users) credentials(t *testing.T) {
	dir := t.TempDir()
	token, plugin := filepath.Join(dir, "token"), filepath.Join(dir, "plugin")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // one file is a program
			t.Fatal(err)
		}
	}
	write(plugin, fmt.Sprintf(loginPlugin, token))
	for name, c := range map[string]struct {
		user   clientcmdapi.AuthInfo
		stderr []string
	}{
		"a token's file": {clientcmdapi.AuthInfo{TokenFile: token}, nil},
		"a plugin": {clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: plugin,
			InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode,
		}}, []string{"logging in\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := clientcmd.LoadFromFile(w.Kubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			all.AuthInfos[all.Contexts[w.ExecOnly].AuthInfo] = &c.user
			p := w
			p.Kubeconfig = filepath.Join(t.TempDir(), "config")
			if err := clientcmd.WriteToFile(*all, p.Kubeconfig); err != nil {
				t.Fatal(err)
			}
			write(token, w.Token)
			p.exec(t, "--context", w.ExecOnly, "web", "--", "echo", "hi").checkEnd(t, 0, "hi\n", c.stderr...)
			write(token, "expired")
			p.exec(t, "--context", w.ExecOnly, "web", "--", "echo", "hi").checkEnd(t, 255, "", "Unauthorized")
		})
	}
}

// proxies uses a proxy that counts the connections through it.
func (w Users) proxies(t *testing.T) {
	var mu sync.Mutex
	requests := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests++
		mu.Unlock()
		connect(rw, r, w.Server)
	}))
	defer proxy.Close()
	wasUsed := func() bool {
		mu.Lock()
		defer mu.Unlock()
		was := requests
		requests = 0
		return was > 0
	}
	host, _, err := net.SplitHostPort(w.Server)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{w.ExecOnly, w.CreateOnly} { // the first connects by WebSocket, the second by SPDY
		w.exec(t, "--context", user, "--proxy-url", proxy.URL, "web", "--", "echo", "hi").checkEnd(t, 0, "hi\n")
		if !wasUsed() {
			t.Errorf("%s: --proxy-url was not used", user)
		}
	}
	if net.ParseIP(host).IsLoopback() {
		return // clients ignore proxy variables for loopback addresses
	}
	for noProxy, want := range map[string]bool{"": true, host + "/24": false, "192.0.2.0/24": true, host: false} {
		cmd := w.Command(t.Context(), t, "exec", "web", "--", "echo", "hi")
		cmd.Env = append(cmd.Env, "HTTPS_PROXY="+proxy.URL, "NO_PROXY="+noProxy)
		if out, err := cmd.Output(); err != nil || string(out) != "hi\n" {
			t.Errorf("NO_PROXY=%s: %q, %v", noProxy, out, err)
		}
		if got := wasUsed(); got != want {
			t.Errorf("NO_PROXY=%s: through the proxy: %v, want %v", noProxy, got, want)
		}
	}
}

// connect is the CONNECT handler of a proxy that connects to one server.
func connect(w http.ResponseWriter, r *http.Request, server string) {
	up, err := net.Dial("tcp", server)
	if err != nil || r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusBadGateway)
		return
	}
	defer up.Close()
	down, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(down, up)
		_ = down.Close()
	})
	_, _ = io.Copy(up, rw)
	_ = up.Close()
	back.Wait()
}

// completionBudget is how long a completion waits for a server. After that, it
// offers nothing.
const completionBudget = 2 * time.Second

// complete returns the output of a completion. If the completion took more than
// half of completionBudget, as on a busy machine, kshell may have given up, so
// complete tries again.
func (w Users) complete(t *testing.T, args ...string) Result {
	t.Helper()
	for begin := time.Now(); ; {
		r := w.Run(t, nil, append([]string{"__complete"}, args...)...)
		if r.Took < completionBudget/2 || time.Since(begin) > runTimeout {
			return r
		}
	}
}

func (w Users) completion(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string // must be among the completions
	}{
		{[]string{"exec", "we"}, []string{"web"}},
		{[]string{"exec", "depl"}, []string{"deployment/"}},
		{[]string{"exec", "deploy/"}, []string{"deploy/web"}},
		{[]string{"exec", "sts/d"}, []string{"sts/db"}},
		{[]string{"exec", "svc/"}, []string{"svc/web"}},
		{[]string{"exec", "multi", "-c", ""}, []string{"a", "b"}},
		{[]string{"exec", "with-init", "-c", ""}, []string{"main", "init" + "\tinit container", "sidecar" + "\tsidecar"}},
		{[]string{"exec", "-n", "defau"}, []string{"default"}},
		{[]string{"exec", "--context", ""}, []string{w.ExecOnly, w.None}},
	} {
		r := w.complete(t, c.args...)
		answers := strings.Split(r.Out, "\n")
		for _, name := range c.want {
			if !slices.Contains(answers, name) {
				t.Errorf("%q: no %q in %q", c.args, name, answers)
			}
		}
		if r.Code != 0 || r.Err != "" {
			t.Errorf("%q: exit code %d after %v, stderr %q", c.args, r.Code, r.Took, r.Err)
		}
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for name, flags := range map[string][]string{
		"silent server":      {"--server", "https://" + silent.Addr().String()},
		"unreachable server": {"--server", "https://127.0.0.1:1"},
		"no kubeconfig":      {"--kubeconfig", "/no/such"},
		"no rights":          {"--context", w.None},
	} {
		r := w.Run(t, nil, slices.Concat([]string{"__complete", "exec"}, flags, []string{"deploy/"})...)
		if r.Code != 0 || r.Err != "" || strings.Contains(r.Out, "deploy/") || r.Took > 5*completionBudget {
			t.Errorf("%s: exit code %d after %v, stdout %q, stderr %q", name, r.Code, r.Took, r.Out, r.Err)
		}
	}
}

func (w Users) settings(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, "kshell.yaml")
	if err := os.WriteFile(file, []byte("shell: ash\nkeepalive: 30s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := w.Command(t.Context(), t, "config", "view")
	cmd.Env = append(cmd.Env, "KSHELL_CONFIG="+file, "KSHELL_SHELL=sh")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`(?m)^namespace +default +\S`, `(?m)^shell +sh +variable KSHELL_SHELL$`,
		`(?m)^keepalive +30s +.*kshell.yaml`, `(?m)^escape-char +~ +default$`,
	} {
		if !regexp.MustCompile(line).Match(out) {
			t.Errorf("no line %s in:\n%s", line, out)
		}
	}
}

// shell runs exec on a terminal without a command, so that kshell chooses the
// shell. It checks TERM, and the variables and the directory that flags set.
func (w Users) shell(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	cmd := w.Command(ctx, t, "exec", "web", "--env", "A=two words", "--workdir", "/")
	cmd.Env = append(slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "TERM=") }),
		"TERM=vt220", "COLORTERM=truecolor")
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tty.Close() }()
	var seen strings.Builder
	await := func(expression string) {
		t.Helper()
		buf := make([]byte, 4096)
		for !regexp.MustCompile(expression).MatchString(seen.String()) {
			n, err := tty.Read(buf)
			if err != nil {
				t.Fatalf("no %s (%v) in %q", expression, err, seen.String())
			}
			seen.Write(buf[:n])
		}
		seen.Reset()
	}
	await(`[$#] `)
	if _, err := io.WriteString(tty, "echo \"[$TERM|$COLORTERM|$A|$PWD]\"\r"); err != nil {
		t.Fatal(err)
	}
	await(`\[vt220\|truecolor\|two words\|/\]`)
	if _, err := io.WriteString(tty, "exit 127\r"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(&seen, tty) // ends with an error
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 127 || strings.Contains(seen.String(), "kshell:") {
		t.Errorf("exit code %d; seen %q", code, seen.String())
	}
}
