//go:build unix

package contract

import (
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
