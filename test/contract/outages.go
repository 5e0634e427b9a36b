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
// kernel still acknowledges packets. The outages last 8 s to 40 s of real time,
// because the kernel's TCP determines the intervals at which packets are sent
// again. All outages happen at the same time.
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

// DroppedConnection checks that kshell detects a connection whose packets are
// all dropped while new connections work. kshell must detect this even if it
// has sent so much stdin that the server may be blocked by a command that does
// not read its stdin. DroppedConnection also checks that a command that does
// not read its stdin for unreadSeconds is not interrupted.
func DroppedConnection(t *testing.T, w Setup) {
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
	// The server's half of the connection is cut, so the script ends the
	// command. The proxy still acknowledges all packets of the client.
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

// unreadSeconds is how long a command leaves its stdin unread. It must be
// longer than 30 s, the time that kshell waits for an acknowledgement.
const unreadSeconds = 45

// lostUpload sends endless stdin, breaks the connection after 1 MiB, and checks
// that kshell exits with 255 and that its message contains reason.
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
// the outage. set begins or ends the outage; kind describes it.
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

// begin begins the outage, which ends after o.lasts. In a shell, it also types
// a line.
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

// check checks that the line has run in the same shell, or that the command has
// ended, that the connection was not lost, and that kshell has reported the
// outage if it took more than 20 s.
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
	if reported := strings.Contains(text, "network out: no reply for "); o.lasts > 20*time.Second && !reported {
		o.t.Errorf("%s: kshell did not report that the network is out: %q", o.name, text)
	}
}
