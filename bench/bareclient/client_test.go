//go:build unix

package bareclient_test

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"kshell/bench/bareclient"
	"kshell/internal/sandbox"
)

// newSandbox starts a sandbox, and returns how to reach it.
func newSandbox(t *testing.T) bareclient.Server {
	t.Helper()
	s, err := sandbox.Start(sandbox.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(s.CA())
	if err != nil {
		t.Fatal(err)
	}
	return bareclient.Server{Host: u.Host, CA: ca, Token: s.Token("admin")}
}

// dial starts a command in the pod web.
func dial(t *testing.T, s bareclient.Server, e bareclient.Exec) *bareclient.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	e.Namespace, e.Pod, e.Container = "default", "web", "web"
	c, err := bareclient.Dial(ctx, s, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestConn_Output(t *testing.T) {
	s := newSandbox(t)
	for _, protocol := range []string{bareclient.V4, bareclient.V5} {
		c := dial(t, s, bareclient.Exec{
			Command: []string{"sh", "-c", "head -c 300000 /dev/zero; echo problem >&2"}, Protocol: protocol,
		})
		var out, errs bytes.Buffer
		if err := c.Copy(&out, &errs); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), make([]byte, 300_000)) || errs.String() != "problem\n" {
			t.Errorf("%s: %d bytes, stderr %q", protocol, out.Len(), errs.String())
		}
	}
}

func TestConn_Input(t *testing.T) {
	c := dial(t, newSandbox(t), bareclient.Exec{Command: []string{"wc", "-c"}, Stdin: true, Protocol: bareclient.V5})
	sent := make(chan error, 1)
	go func() {
		for range 20 {
			if _, err := c.Write(make([]byte, bareclient.MaxPayload)); err != nil {
				sent <- err
				return
			}
		}
		_, err := io.WriteString(c, "end")
		if err == nil {
			err = c.CloseStdin()
		}
		sent <- err
	}()
	var out bytes.Buffer
	if err := c.Copy(&out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	want := strconv.Itoa(20*bareclient.MaxPayload + len("end"))
	if got := strings.TrimSpace(out.String()); got != want {
		t.Errorf("the command read %s bytes, want %s", got, want)
	}
}

func TestConn_Failure(t *testing.T) {
	c := dial(t, newSandbox(t), bareclient.Exec{Command: []string{"false"}, Protocol: bareclient.V4})
	if err := c.Copy(io.Discard, io.Discard); err == nil {
		t.Error("no error after exit code 1")
	}
}
