//go:build unix

package sandbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"

	"kshell/internal/sandbox"
)

// lines is the output of `seq 1 2000000`.
var lines = sync.OnceValue(func() []byte {
	var b []byte
	for i := 1; i <= 2_000_000; i++ {
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, '\n')
	}
	return b
})

func sumLine(data []byte) string { return fmt.Sprintf("%x  -\n", sha256.Sum256(data)) }

var rounds = flag.Int("rounds", 5, "number of large transfers")

func TestTransfer_Download(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	want := sha256.Sum256(lines())
	for i := range *rounds {
		p := allProtocols[i%len(allProtocols)]
		c := dial(t, s, execPath("web", execQuery("oe", "seq", "1", "2000000")), p)
		h := sha256.New()
		for {
			ch, data, err := c.read()
			if err != nil {
				if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
					t.Fatalf("round %d, %s: %v", i, p, err)
				}
				break
			}
			if ch == 1 {
				h.Write(data)
			}
		}
		if [32]byte(h.Sum(nil)) != want {
			t.Fatalf("round %d, %s: a wrong sum", i, p)
		}
	}
}

func TestTransfer_Upload(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	upload := lines()
	if raceDetector {
		upload = upload[:4<<20]
	}
	for i := range *rounds - 1 {
		// Without a half-close, the command must know the size of its input.
		command := []string{"sha256sum"}
		p := []string{v5, v4, v5, v4base64}[i%4]
		if p != v5 {
			command = []string{"sh", "-c", fmt.Sprintf("head -c %d | sha256sum", len(upload))}
		}
		c := dial(t, s, execPath("web", execQuery("io", command...)), p)
		for rest := upload; len(rest) > 0; {
			n := min(len(rest), 128<<10)
			c.send(0, string(rest[:n]))
			rest = rest[n:]
		}
		if p == v5 {
			c.halfClose()
		}
		r := c.finish()
		r.checkClosed(t)
		if r.out != sumLine(upload) {
			t.Fatalf("round %d, %s: %q, want %q", i, p, r.out, sumLine(upload))
		}
	}
}

func TestTransfer_MessageSizes(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	for _, p := range allProtocols {
		r := dial(t, s, execPath("web", execQuery("o", "head", "-c", "4000000", "/dev/zero")), p).finish()
		if len(r.out) != 4000000 || r.largest > 32<<10 {
			t.Errorf("%s: %d bytes, largest message %d", p, len(r.out), r.largest)
		}
	}
	const limit = 32 << 20
	c := dial(t, s, execPath("web", execQuery("io", "sha256sum")), v5)
	big := bytes.Repeat([]byte("x"), limit-1)
	c.send(0, string(big)) // exactly the limit, including the channel byte
	c.halfClose()
	if r := c.finish(); r.out != sumLine(big) {
		t.Errorf("32 MiB in one message: %q, %v", r.out, r.end)
	}
	c = dial(t, s, execPath("web", execQuery("io", "cat")), v5)
	_ = c.write(0, append(big, 'x')) // the server may close the connection meanwhile
	if r := c.finish(); len(r.out) > 0 || websocket.CloseStatus(r.end) == -1 && r.end == nil {
		t.Errorf("one byte more: %d bytes, %v", len(r.out), r.end)
	}
}

// executor returns the WebSocket executor of client-go, the reference client.
func executor(t *testing.T, s *sandbox.Server, streams string, command ...string) remotecommand.Executor {
	t.Helper()
	cfg := restConfig(t, s, "sandbox")
	ex, err := remotecommand.NewWebSocketExecutor(cfg, "GET", s.URL()+execPath("web", execQuery(streams, command...)))
	if err != nil {
		t.Fatal(err)
	}
	return ex
}

func TestClientGo(t *testing.T) {
	s := start(t, sandbox.Config{})
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()

	var out, errOut bytes.Buffer
	ex := executor(t, s, "ioe", "sh", "-c", "sha256sum; echo err >&2; exit 9")
	err := ex.StreamWithContext(
		ctx,
		remotecommand.StreamOptions{Stdin: bytes.NewReader(lines()), Stdout: &out, Stderr: &errOut},
	)
	var code utilexec.CodeExitError
	if !errors.As(err, &code) || code.Code != 9 {
		t.Errorf("ended with %v, want code 9", err)
	}
	if out.String() != sumLine(lines()) || errOut.String() != "err\n" {
		t.Errorf("stdout %q, stderr %q", out.String(), errOut.String())
	}

	sizes := make(sizeQueue, 1)
	sizes <- remotecommand.TerminalSize{Width: 77, Height: 22}
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	out.Reset()
	ex = executor(t, s, "iot", "sh", "-c", "read x; stty size")
	go func() {
		_ = s.WaitSessions(ctx, func(list []sandbox.Session) bool { return len(list) == 2 && len(list[1].Sizes) == 1 })
		_, _ = w.Write([]byte("\r"))
	}()
	err = ex.StreamWithContext(
		ctx,
		remotecommand.StreamOptions{Stdin: r, Stdout: &out, Tty: true, TerminalSizeQueue: sizes},
	)
	close(sizes)
	if err != nil || !strings.Contains(out.String(), "22 77") {
		t.Errorf("on a tty: %q, %v", out.String(), err)
	}
	got := s.Sessions()[0]
	if got.Subprotocol != v5 || got.StdinBytes != int64(len(lines())) || got.Code != 9 || got.Open {
		t.Errorf("session %+v", got)
	}
}

type sizeQueue chan remotecommand.TerminalSize

// Next implements remotecommand.TerminalSizeQueue.
func (q sizeQueue) Next() *remotecommand.TerminalSize {
	s, ok := <-q
	if !ok {
		return nil
	}
	return &s
}

func TestGentle_UnreadStdin(t *testing.T) {
	t.Parallel()
	flood := func(c *client) {
		for range 64 {
			if c.write(0, make([]byte, 16<<10)) != nil {
				return
			}
		}
	}
	command := execQuery("io", "sh", "-c", "echo started; "+waitForGo)
	// enough reports whether more stdin has arrived than the command's pipe and
	// the server can hold.
	enough := func(ses sandbox.Session) bool { return ses.StdinBytes > 160<<10 }
	s := start(t, sandbox.Config{})
	c := dial(t, s, execPath("web", command), v5)
	go flood(c)
	waitSession(c.ctx, t, s, enough)
	writeGo(t, s)
	waitSession(c.ctx, t, s, func(ses sandbox.Session) bool { return ses.Exited })
	soon, cancel := context.WithTimeout(c.ctx, 300*time.Millisecond)
	defer cancel()
	if err := s.WaitSessions(soon, func(list []sandbox.Session) bool { return !list[0].Open }); err == nil {
		t.Error("the session ended")
	}
	s.Restart()
	if r := c.finish(); r.status != "" {
		t.Errorf("a Status was received: %s", r.status)
	}

	gentle := start(t, sandbox.Config{Gentle: true})
	c = dial(t, gentle, execPath("web", command), v5)
	go flood(c)
	waitSession(c.ctx, t, gentle, enough)
	writeGo(t, gentle)
	r := c.finish()
	r.checkClosed(t)
	if r.code() != 0 || r.out != "started\n" {
		t.Errorf("with Gentle: %q %s", r.out, r.status)
	}
}
