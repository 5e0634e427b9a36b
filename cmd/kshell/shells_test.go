//go:build unix

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/outcome"
	"kshell/internal/sandbox"
)

// Replacements for the shells of Windows. cmd accepts one command line; without
// arguments, it is a shell.
const (
	cmdExe = `#!/bin/sh
if [ $# = 0 ]; then
	PS1='C:\> ' exec /bin/sh
fi
[ "$*" = '/d /c where /q powershell 2>nul & if errorlevel 1 (cmd) else (powershell)' ] || exit 9
if [ -e "${PATH%%:*}/powershell" ]; then
	powershell
else
	cmd
fi
`
	powershellExe = `#!/bin/sh
PS1='PS C:\> ' exec /bin/sh
`
)

// windowsPods adds Windows pods: full has both shells, nano has only cmd, bare
// has none. If withOS is set, the specs of the pods contain the operating
// system.
func windowsPods(t *testing.T, s *sandbox.Server, withOS bool) {
	t.Helper()
	cmd, powershell := writeFile(t, "cmd", cmdExe, 0o700), writeFile(t, "powershell", powershellExe, 0o700)
	for name, commands := range map[string]map[string]string{
		"full": {"cmd": cmd, "powershell": powershell}, "nano": {"cmd": cmd}, "bare": {"program": powershell},
	} {
		commands["cat"] = "/bin/cat" // for the sandbox itself
		if err := s.AddImage("sandbox/"+name, commands); err != nil {
			t.Fatal(err)
		}
		p := &corev1.Pod{Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: name, Image: "sandbox/" + name}},
			NodeName:   "windows", // does not exist
		}}
		if p.Name = name; withOS {
			p.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
		}
		if err := s.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
}

// startNodes starts a proxy in front of a sandbox that reports a Windows node.
func startNodes(t *testing.T, s *sandbox.Server) (address string) {
	t.Helper()
	target, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(s.CA())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+s.Token("admin"))
		},
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/v1/nodes/") {
			proxy.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(corev1.Node{
			TypeMeta:   metav1.TypeMeta{Kind: "Node", APIVersion: "v1"},
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelOSStable: "windows"}},
		})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// commandsWithTTY returns the programs of the sessions that have a tty.
func commandsWithTTY(s *sandbox.Server) (all []string) {
	for _, x := range sessionsWithTTY(s) {
		all = append(all, x.Query["command"][0])
	}
	return all
}

func TestShell_Windows(t *testing.T) {
	for pod, prompt := range map[string]string{"full": `PS C:\\> `, "nano": `C:\\> `} {
		t.Run(pod, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			windowsPods(t, s, true)
			c := open(t, s, program(t), "exec", pod)
			c.waitFor("(?m)^" + prompt)
			c.keys("exit 127\r") // 127 is the exit code of the shell, so kshell tries no other shell
			c.mustEnd(127)
			if got := commandsWithTTY(s); !slices.Equal(got, []string{"cmd"}) {
				t.Errorf("commands: %q", got)
			}
		})
	}
}

func TestShell_WindowsNode(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	windowsPods(t, s, false)
	c := open(t, s, program(t), "exec", "--server", startNodes(t, s), "full")
	c.waitFor(`(?m)^PS C:\\> `)
	c.keys("exit 3\r")
	c.mustEnd(3)
	if got := commandsWithTTY(s); !slices.Equal(got, []string{"sh", "/bin/sh", "cmd"}) {
		t.Errorf("commands: %q", got)
	}
}

func TestShell_UnknownOS(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	windowsPods(t, s, false)
	c := open(t, s, program(t), "exec", "-v", "nano")
	c.waitFor("the pod's operating system is not known: cannot get node ")
	c.waitFor(`(?m)^C:\\> `)
	c.keys("exit 0\r")
	c.mustEnd(0)
	if got := commandsWithTTY(s); !slices.Equal(got, []string{"sh", "/bin/sh", "bash", "ash", "/bin/bash", "cmd"}) {
		t.Errorf("commands: %q", got)
	}
}

func TestShell_WindowsWithoutShell(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	windowsPods(t, s, true)
	c := open(t, s, program(t), "exec", "bare")
	c.waitFor("(?m)^kshell: the container has no shell\r\n")
	c.waitFor("(?m)^hint: name a program that the container has: `kshell exec -it bare -- PROGRAM`\r\n")
	c.mustEnd(outcome.ExitNotFound)
}

// A lost connection before the shell starts, and a shell that exits with 127,
// do not mean that the shell is missing.
func TestShell_NotMissing(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{Times: 1, Do: sandbox.RST, When: sandbox.AfterSent, N: 1})
	c := open(t, s, program(t), "exec", "web")
	c.waitFor("connection lost")
	c.prompt() // the first shell has printed nothing
	c.keys("exit 127\r")
	c.mustEnd(127)
	if strings.Contains(string(c.all()), "no shell") {
		t.Error("a shell is reported as missing")
	}
}

// In an image without sh, kshell sets the variables of --env by the program
// env. This also applies to a command on a terminal.
func TestEnv_TerminalWithoutSh(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	p := pods["env-only"]()
	p.Name = "env-only"
	image := p.Spec.Containers[0].Image
	if err := s.AddImage(image, images[image]); err != nil {
		t.Fatal(err)
	}
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	c := open(t, s, program(t), "exec", "-it", "--env", "A=one two", "env-only", "--", "printenv", "A")
	c.waitFor("one two\r\n")
	c.mustEnd(0)
}
