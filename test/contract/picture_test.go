//go:build unix

package contract

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	corev1 "k8s.io/api/core/v1"

	"kshell/internal/agentbin"
	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
	"kshell/test/picture"
)

// castFile is the recording of the session that README.md shows. kshell.svg,
// beside it, is rendered from it.
const castFile = "../../docs/kshell.cast"

// The size of the terminal in the picture.
const (
	pictureColumns = 80
	pictureRows    = 20
)

// TestPicture_UpToDate runs the session of the picture again, and checks that
// the terminal shows the same. "make docs" writes the recording and the picture.
func TestPicture_UpToDate(t *testing.T) {
	t.Parallel()
	if agentbin.BuildID() == "" {
		t.Skip(`there are no agents: run "make agent"`)
	}
	got, err := recordPicture(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(castFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want, err := os.ReadFile(castFile); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s does not show what kshell does now (make docs): %v\n%s", castFile, err, got)
	}
}

// recordPicture runs the session of the picture: the real kshell with the
// sandbox, in a shell on a terminal.
func recordPicture(t *testing.T) *picture.Cast {
	t.Helper()
	proxy, config := pictureServer(t)
	bin := t.TempDir()
	if err := os.Symlink(kshellBinary(t), filepath.Join(bin, "kshell")); err != nil {
		t.Fatal(err)
	}
	p := Program{Path: "/bin/sh", Kubeconfig: config, Home: t.TempDir(), Env: []string{
		"PS1=$ ", "KSHELL_SHELL=sh", "PATH=" + bin + ":" + os.Getenv("PATH"), "ENV=",
	}}
	size := pty.Winsize{Rows: pictureRows, Cols: pictureColumns}
	r := newPictureSession(t, openTerminal(t, p.Command(t.Context(), t), size))
	const prompt, podPrompt = `\$ `, `web:/# `
	r.waitFor(prompt)

	r.caption("A shell in pod web. --resume keeps it running when the connection breaks.")
	r.line("kshell exec --resume web", podPrompt)
	r.line("cd /tmp; step=2", podPrompt)
	r.caption("Now the network is cut ...")
	refuse(t, proxy, true)
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	r.waitFor(resumeWaiting + ` ` + statusEnd)
	r.pause(3)
	r.caption("... and works again. It is the same shell.")
	refuse(t, proxy, false)
	r.waitFor(sameShell + `\r\n`)
	r.term.Type("\r") // the shell is asked for a prompt
	r.waitFor(podPrompt)
	r.pause(1.5)
	r.line(`pwd; echo "step $step"`, `step 2\r\n`+podPrompt)
	r.pause(1.5)
	r.line("exit", prompt)
	r.caption("A command returns its own exit code.")
	r.line(`kshell exec web -- sh -c 'echo tests failed; exit 3'; echo "exit code $?"`, `exit code 3\r\n`+prompt)
	r.pause(2)
	r.caption("A command in all pods with a label. Equal output is printed once.")
	r.line("kshell exec -l app=api --all --fold -- sh -c 'echo ready'", `(?s)ready\r\n.*`+prompt)
	r.pause(1)
	return &r.cast
}

// pictureServer starts a sandbox with the pods of the picture, and a proxy in
// front of it. It returns the path of the kubeconfig for the proxy.
func pictureServer(t *testing.T) (*faultproxy.Proxy, string) {
	t.Helper()
	s, host := startConfig(t, sandbox.Config{Empty: true})
	for _, name := range []string{"web", "api-0", "api-1", "api-2"} {
		app, _, _ := strings.Cut(name, "-")
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: app, Env: []corev1.EnvVar{{Name: "PS1", Value: name + ":/# "}},
		}}}}
		p.Name, p.Labels = name, map[string]string{"app": app}
		if err := s.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
	proxy, err := faultproxy.Start(faultproxy.Config{Target: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	text, err := os.ReadFile(s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	through := url.URL{Scheme: "https", Host: proxy.Addr()}
	config := filepath.Join(t.TempDir(), "config")
	text = bytes.ReplaceAll(text, []byte(s.URL()), []byte(through.String()))
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return proxy, config
}

// pictureSession records what a terminal shows. Its times do not depend on the
// speed of the machine: each key and each change of the screen takes a fixed
// time.
type pictureSession struct {
	term *Terminal
	cast picture.Cast
	now  float64 // in seconds
}

// The times of the recording, in seconds.
const (
	perKey   = 0.06
	perReply = 0.4
	perLine  = 1.2 // until the next line is typed
)

func newPictureSession(t *testing.T, term *Terminal) *pictureSession {
	t.Helper()
	return &pictureSession{term: term, cast: picture.Cast{
		Width: pictureColumns, Height: pictureRows, Title: "kshell: a shell that survives a broken connection",
	}}
}

func (r *pictureSession) event(code, data string) {
	r.cast.Events = append(r.cast.Events, picture.Event{Time: r.now, Code: code, Data: data})
}

func (r *pictureSession) pause(seconds float64) { r.now += seconds }

// caption shows a text until the next caption.
func (r *pictureSession) caption(text string) { r.event(picture.Marker, text) }

// line types a line, and waits for a match of the expression in the output.
func (r *pictureSession) line(text, expression string) {
	for _, key := range text {
		r.now += perKey
		r.event(picture.Output, string(key))
	}
	r.term.Type(text + "\r")
	r.term.WaitFor(regexp.QuoteMeta(text[len(text)-1:]) + `\r\n`)
	r.waitFor(expression)
	r.pause(perLine)
}

// waitFor waits for a match of the expression in the output, and records the
// screen at the end of the match.
func (r *pictureSession) waitFor(expression string) {
	r.term.WaitFor(expression)
	r.now += perReply
	r.event(picture.Output, r.screen())
}

// screen returns the output that draws the screen as it is at the end of the
// last match.
func (r *pictureSession) screen() string {
	screen := vt.NewEmulator(pictureColumns, pictureRows)
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(io.Discard, screen) })
	_, _ = io.WriteString(screen, withoutRandom(r.term.textSoFar()))
	_ = screen.InputPipe().(io.Closer).Close()
	answers.Wait()
	cursor := screen.CursorPosition()
	rows := strings.Split(screen.Render(), "\n")
	for len(rows) > 0 && strings.TrimSpace(rows[len(rows)-1]) == "" {
		rows = rows[:len(rows)-1]
	}
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " \r")
	}
	return "\x1b[H\x1b[2J" + strings.Join(rows, "\r\n") + fmt.Sprintf("\x1b[%d;%dH", cursor.Y+1, cursor.X+1)
}

// withoutRandom replaces what differs from run to run: numbers of seconds, ports
// and the IDs of sessions. It removes notes that only a busy machine prints.
func withoutRandom(output string) string {
	for _, r := range []struct{ what, by string }{
		{`kshell: (waiting for|uploading) [^\r\n]*press Ctrl-C to cancel\)\r\n`, ""},
		{`\b(after|in) [0-9]+ s\b`, "$1 2 s"},
		{`127\.0\.0\.1:[0-9]+`, "127.0.0.1:6443"},
		{`\b[0-9a-f]{10}\b`, "5d0c2f81ab"},
	} {
		output = regexp.MustCompile(r.what).ReplaceAllString(output, r.by)
	}
	return output
}
