//go:build unix

package contract

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kshell/test/faultproxy"
)

// breaker cuts connections at random times, in random ways: RST, FIN, a
// connection of which only the server's half is closed, and a black hole.
type breaker struct {
	proxy *faultproxy.Proxy
	cuts  atomic.Int64
}

// cut cuts the connections once. A black hole lasts for up to 4 s.
func (b *breaker) cut() {
	b.cuts.Add(1)
	switch rand.IntN(4) { //nolint:gosec // not a secret
	case 0:
		b.proxy.Cut(faultproxy.Both, faultproxy.RST)
	case 1:
		b.proxy.Cut(faultproxy.Both, faultproxy.FIN)
	case 2:
		b.proxy.Cut(faultproxy.Server, faultproxy.RST)
	default:
		blackHole(b.proxy, true)
		time.Sleep(randomTime(4 * time.Second))
		blackHole(b.proxy, false)
	}
}

// randomTime returns a time of less than limit.
func randomTime(limit time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(limit))) //nolint:gosec // not a secret
}

// keysScript prints numbers and each key that it reads. $1 is the number of keys.
const keysScript = `stty raw -echo; echo ready
	(i=0; while :; do i=$((i+1)); echo "<$i>"; sleep 0.05; done) &
	dd bs=1 count=$1 2>/dev/null; kill $!; wait; echo; echo done; exit 7`

// ResumeKeys types keys while a program prints numbers and the connection is cut
// at random times. Each number must be shown once, and each key be applied once.
func ResumeKeys(t *testing.T, w ResumeSetup, keys, cuts int) {
	proxy, server := w.Through(t)
	pod := w.Pod(t)
	term := openWindow(t, w.Program, w.resumed(t, slices.Concat(server, []string{
		"-it", "--keepalive=2s", pod, "--", "sh", "-c", keysScript, "sh", fmt.Sprint(keys),
	})...)...)
	term.waitForText("ready")
	b := &breaker{proxy: proxy}
	var typed strings.Builder
	for i := range keys {
		key := string(rune('A' + rand.IntN(26))) //nolint:gosec // not a secret
		typed.WriteString(key)
		term.Type(key)
		if i%max(keys/cuts, 1) == 0 {
			before := lastNumber(term.Text())
			b.cut()
			if rand.IntN(2) == 0 { //nolint:gosec // not a secret
				term.waitUntil("a number after a cut", func(text string) bool { return lastNumber(text) > before })
			}
		}
	}
	code, ok := term.ExitWithin(runTimeout)
	if !ok || code != 7 {
		t.Errorf("exit code %d (%v); the terminal %q, stderr %s", code, ok, last(term.Text(), 500), term.errs)
	}
	text := term.Text()
	for i, m := range number.FindAllStringSubmatch(text, -1) {
		if m[1] != fmt.Sprint(i+1) {
			t.Fatalf("number %d is %s: ...%q\n%s", i+1, m[1], excerpt(text, m[0]), term.errs)
		}
	}
	shown := regexp.MustCompile(`<\d+>|\x1b\[[0-9;?]*[a-zA-Z]|[^A-Z]`).ReplaceAllString(text, "")
	if shown != typed.String() {
		t.Errorf("%d keys were typed, and %d applied:\n%s\n%s", keys, len(shown), typed.String(), shown)
	}
	back := strings.Count(term.errs.String(), "the same shell")
	t.Logf("%d keys, %d numbers, %d cuts, connected again %d times", keys, lastNumber(text), b.cuts.Load(), back)
	if back == 0 {
		t.Errorf("no connection was lost; stderr %s", term.errs)
	}
	w.checkNothingLeft(t, pod)
}

// Transfer is a command with input and output that takes some time.
type Transfer struct {
	In, Out  int // bytes
	Duration time.Duration
	Cuts     int
}

// pieces is the number of pieces in which the output of a Transfer is written.
const pieces = 40

// ResumeTransfer runs a command that reads and writes while the connection is cut
// at random times. Its input, its output and its exit code must be exact.
func ResumeTransfer(t *testing.T, w ResumeSetup, tr Transfer) {
	proxy, server := w.Through(t)
	pod := w.Pod(t)
	step := tr.Out / pieces / 9 // each line has 8 digits and a newline
	script := fmt.Sprintf(`exec 3<&0; sha256sum <&3 >&2 & i=0
		while [ $i -lt %d ]; do i=$((i+1)); seq $((10000000+i*%[2]d)) $((10000000+i*%[2]d+%[2]d-1)); sleep %.3[3]f; done
		wait; exit 7`, pieces, step, tr.Duration.Seconds()/pieces)
	var want bytes.Buffer
	for i := range pieces * step {
		fmt.Fprintf(&want, "%d\n", 10000000+step+i)
	}
	input := make([]byte, tr.In)
	for i := range input {
		input[i] = byte(rand.Uint32()) //nolint:gosec // not a secret
	}
	cmd := w.Command(t.Context(), t, w.resumed(t, slices.Concat(server, []string{
		"-i", "--keepalive=2s", pod, "--", "sh", "-c", script,
	})...)...)
	var out, errs lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	const piece = 16 << 10 // less than the buffer of the goroutine that copies the input
	cmd.Stdin = &pacedReader{bytes.NewReader(input), piece, tr.Duration / time.Duration(len(input)/piece+1)}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &breaker{proxy: proxy}
	ended := make(chan struct{})
	var breaks sync.WaitGroup
	breaks.Go(func() {
		for out.String() == "" { // the session has begun with the first output
			select {
			case <-ended:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
		for range tr.Cuts {
			select {
			case <-ended:
				return
			case <-time.After(randomTime(2 * tr.Duration / time.Duration(tr.Cuts))):
				b.cut()
			}
		}
	})
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // the exit code is in ProcessState
	}()
	select {
	case <-exited:
	case <-time.After(4*tr.Duration + runTimeout):
		t.Error("kshell has not ended")
		_ = cmd.Process.Kill()
		<-exited
	}
	close(ended)
	breaks.Wait()
	sum := fmt.Sprintf("%x", sha256.Sum256(input))
	if code := ExitCode(cmd.ProcessState); code != 7 || !bytes.Equal([]byte(out.String()), want.Bytes()) {
		t.Errorf("exit code %d, %d bytes of output, want %d; stderr %s", code, len(out.String()), want.Len(), &errs)
	}
	if !strings.Contains(errs.String(), sum) {
		t.Errorf("the input was not exact; stderr %s", &errs)
	}
	t.Logf("%d MB in, %d MB out, %d cuts, %v",
		tr.In/1e6, want.Len()/1e6, b.cuts.Load(), time.Since(begin).Round(time.Second))
	w.checkNothingLeft(t, pod)
}

// pacedReader returns at most size bytes after each pause.
type pacedReader struct {
	io.Reader
	size  int
	pause time.Duration
}

// Read implements io.Reader.
func (r *pacedReader) Read(p []byte) (int, error) {
	time.Sleep(r.pause)
	return r.Reader.Read(p[:min(len(p), r.size)])
}

// ResumeReset measures how long it takes from the moment when the network works
// again until kshell is in the same shell again. It returns the median of n
// measurements.
func ResumeReset(t *testing.T, w ResumeSetup, n int) time.Duration {
	t.Helper()
	term, proxy, _ := w.resumedShell(t)
	var took []time.Duration
	for range n {
		refuse(t, proxy, true)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.WaitFor(`connection lost`)
		time.Sleep(randomTime(400 * time.Millisecond))
		refuse(t, proxy, false)
		back := time.Now()
		term.WaitFor(sameShell)
		took = append(took, time.Since(back))
		term.Type("echo o''k\r")
		term.WaitFor(`ok\r\n`)
	}
	term.exitShell(7)
	t.Logf("in the same shell after %v", took)
	return median(took)
}

// ResumeInterrupt measures how long it takes from Ctrl-C to a prompt, while yes
// prints over a link with the rate, in bytes per second, and a round trip of 40 ms.
func ResumeInterrupt(t *testing.T, w ResumeSetup, rate int) time.Duration {
	t.Helper()
	term, proxy, _ := w.resumedShell(t)
	proxy.Delay(faultproxy.ToClient, 20*time.Millisecond)
	proxy.Delay(faultproxy.ToServer, 20*time.Millisecond)
	return term.interruptYes(proxy, rate)
}

// ResumeBulk measures how long plain exec and a session of --resume take to print
// size bytes.
func ResumeBulk(t *testing.T, w ResumeSetup, size int) (plain, resumed time.Duration) {
	t.Helper()
	pod := w.Pod(t)
	run := func(args []string) time.Duration {
		cmd := w.Command(t.Context(), t, append(args, pod, "--", "head", "-c", fmt.Sprint(size), "/dev/zero")...)
		count := &counter{}
		cmd.Stdout = count
		begin := time.Now()
		if err := cmd.Run(); err != nil || count.n != int64(size) {
			t.Errorf("%d bytes, %v", count.n, err)
		}
		return time.Since(begin)
	}
	var both [2][]time.Duration
	for range 3 {
		both[0] = append(both[0], run(slices.Concat([]string{"exec", modePlain}, w.Flags)))
		both[1] = append(both[1], run(w.resumed(t)))
	}
	return median(both[0]), median(both[1])
}

// counter counts the bytes that are written to it.
type counter struct{ n int64 }

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// ResumeFirstPrompt measures how long it takes until a shell shows its first
// prompt: with plain exec, with --resume, and with an agent that was uploaded before.
func ResumeFirstPrompt(t *testing.T, w ResumeSetup, n int) (plain, first, again time.Duration) {
	t.Helper()
	var took [3][]time.Duration
	open := func(pod string, args []string) (time.Duration, *Terminal) {
		begin := time.Now()
		term := w.Open(t, append(args, "-it", pod, "--", "sh")...)
		term.WaitFor(`[$#] `)
		return time.Since(begin), term
	}
	for range n {
		w, _ := w.inDir(t)
		pod := w.Pod(t)
		var terms []*Terminal
		for i, args := range [][]string{slices.Concat([]string{"exec"}, w.Flags), w.resumed(t), w.resumed(t)} {
			d, term := open(pod, args)
			took[i] = append(took[i], d)
			terms = append(terms, term)
		}
		for _, term := range terms {
			term.Type("exit\r")
			term.CheckExit(0)
		}
	}
	return median(took[0]), median(took[1]), median(took[2])
}
