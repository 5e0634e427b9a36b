//go:build unix

package contract

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"kshell/test/faultproxy"
)

// Outages checks that shells and commands survive outages of the network during
// which all packets are lost, and an outage of the API server during which its
// kernel still answers. The outages take real time, because TCP sends its
// packets again at growing intervals. They all happen at the same time.
func Outages(t *testing.T, w Setup) {
	if runtime.GOOS != "linux" {
		t.Skip("packets can be dropped only on Linux")
	}
	drop := func(proxy *faultproxy.Proxy, on bool) error { return proxy.DropPackets(on) }
	freeze := func(proxy *faultproxy.Proxy, on bool) error { blackHole(proxy, on); return nil }
	var all []*outage
	for _, lasts := range []time.Duration{8 * time.Second, 15 * time.Second, 25 * time.Second, 40 * time.Second} {
		all = append(all, openOutages(t, w, lasts, "no packets", drop)...)
	}
	all = append(all, openOutages(t, w, 25*time.Second, "frozen server", freeze)...)
	for _, o := range all {
		o.begin()
	}
	slices.SortStableFunc(all, func(a, b *outage) int { return int(a.lasts - b.lasts) })
	for _, o := range all {
		o.check()
	}
}

// Forgotten checks that kshell detects a connection of which all packets are
// dropped, while new connections work, even if much stdin was sent: the server
// may then be blocked by a command that does not read its stdin. It also checks
// that a command that does not read its stdin for longer is not interrupted.
func Forgotten(t *testing.T, w Setup) {
	if runtime.GOOS != "linux" {
		t.Skip("packets can be dropped only on Linux")
	}
	for name, flags := range map[string][]string{"exact": nil, "plain": {"--exact=never"}} {
		t.Run("upload, "+name, func(t *testing.T) {
			t.Parallel()
			const reason = "connection lost: the server does not answer any more"
			lostUpload(t, w, flags, reason, (*faultproxy.Proxy).DropOpen)
		})
		t.Run("unread upload, "+name, func(t *testing.T) {
			t.Parallel()
			_, server := w.Through(t)
			script := fmt.Sprintf("sleep %d; wc -c; exit 6", unreadSeconds)
			args := slices.Concat([]string{"exec", "-i"}, server, flags, []string{"web", "--", "sh", "-c", script})
			r := w.Run(t, make([]byte, 40<<20), args...)
			if r.Code != 6 || strings.TrimSpace(r.Out) != fmt.Sprint(40<<20) || strings.Contains(r.Err, "network out") {
				t.Errorf("exit code %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
			}
		})
	}
	// The script ends the command when the server's half of the connection is
	// cut. The client's half acknowledges everything.
	t.Run("upload, server's half cut", func(t *testing.T) {
		t.Parallel()
		const reason = "connection lost: the command has ended, but nothing arrives any more"
		lostUpload(t, w, nil, reason, func(proxy *faultproxy.Proxy) error {
			proxy.Cut(faultproxy.Server, faultproxy.RST)
			return nil
		})
	})
	t.Run("paste", func(t *testing.T) {
		t.Parallel()
		term, proxy := w.shell(t)
		if err := proxy.DropOpen(); err != nil {
			t.Fatal(err)
		}
		term.Type("# " + strings.Repeat("x", 5000) + "\r")
		term.WaitForWithin(2*terminalTimeout, `no reply for [0-9]+ s`)
		term.WaitForWithin(2*terminalTimeout, `connection lost: the server does not answer any more`)
		term.WaitFor(newShell)
		term.WaitFor(`[$#] `)
		term.Prompt()
		term.exitShell(3)
	})
}

// unreadSeconds is how long a command leaves its stdin unread. It is longer
// than kshell waits for an acknowledgement, 30 s.
const unreadSeconds = 45

// lostUpload sends stdin without end, breaks the connection when some of it has
// arrived, and checks that kshell ends with reason.
func lostUpload(t *testing.T, w Setup, flags []string, reason string, breaks func(*faultproxy.Proxy) error) {
	proxy, server := w.Through(t)
	args := slices.Concat([]string{"exec", "-i"}, server, flags, []string{"web", "--", "sh", "-c", "cat >/dev/null"})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := w.Command(ctx, t, args...)
	input, err := zeros(t.TempDir(), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = input.Close() })
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = input, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for proxy.Stats().Bytes[faultproxy.ToServer] < 1<<20 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if err := breaks(proxy); err != nil {
		t.Error(err)
	}
	begin := time.Now()
	_ = cmd.Wait() // the exit code is checked
	took, code := time.Since(begin), cmd.ProcessState.ExitCode()
	if code != 255 || !strings.Contains(strings.ReplaceAll(stderr.String(), "\n", " "), reason) {
		t.Errorf("exit code %d after %v, stderr %q", code, took, stderr.String())
	}
	t.Logf("detected after %v", took)
	if took > 90*time.Second {
		t.Errorf("it took %v", took)
	}
}

// outage is a shell or a command during an outage.
type outage struct {
	t     *testing.T
	name  string
	lasts time.Duration
	shell bool
	set   func(proxy *faultproxy.Proxy, on bool) error
	proxy *faultproxy.Proxy
	term  *Terminal
	ended chan time.Time // gets the time at which the outage ended
}

// openOutages opens a shell, and starts a command that ends in the middle of
// the outage.
func openOutages(
	t *testing.T, w Setup, lasts time.Duration, kind string, set func(*faultproxy.Proxy, bool) error,
) []*outage {
	t.Helper()
	shell, shellProxy := w.shell(t)
	shell.Type("mine=sa''me; echo rea''dy\r")
	shell.WaitFor(`ready\r\n`)
	proxy, server := w.Through(t)
	script := fmt.Sprintf("echo begin; read -r line; sleep %d; echo end; exit 7", lasts/2/time.Second)
	args := slices.Concat([]string{"exec", "-i"}, server, []string{"web", "--", "sh", "-c", script})
	command := w.Open(t, args...)
	command.WaitFor(`begin\r\n`)
	command.Type("\r")
	return []*outage{
		{t, fmt.Sprintf("shell, %s for %v", kind, lasts), lasts, true, set, shellProxy, shell, make(chan time.Time, 1)},
		{t, fmt.Sprintf("command, %s for %v", kind, lasts), lasts, false, set, proxy, command, make(chan time.Time, 1)},
	}
}

// begin begins the outage. In a shell, it types a line.
func (o *outage) begin() {
	if err := o.set(o.proxy, true); err != nil {
		o.t.Fatal(err)
	}
	if o.shell {
		o.term.Type("echo the $mine shell\r")
	}
	time.AfterFunc(o.lasts, func() {
		if err := o.set(o.proxy, false); err != nil {
			o.t.Error(err)
		}
		o.ended <- time.Now()
	})
}

// check checks that the shell has run the line in the same shell, or that the
// command has ended, and that kshell has reported a long outage.
func (o *outage) check() {
	answer := `end\r\n`
	if o.shell {
		answer = `the same shell\r\n`
	}
	o.term.WaitForWithin(o.lasts+terminalTimeout, answer)
	o.t.Logf("%s: the answer came %v after the outage", o.name, time.Since(<-o.ended))
	if o.shell {
		o.term.exitShell(3)
	} else {
		o.term.CheckExit(7)
	}
	text := o.term.Text()
	if strings.Contains(text, "connection lost") {
		o.t.Errorf("%s: the connection was lost: %q", o.name, text)
	}
	if told := strings.Contains(text, "network out: no reply for "); o.lasts > 20*time.Second && !told {
		o.t.Errorf("%s: the user was not told that the network is out: %q", o.name, text)
	}
}
