package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/wait"

	"kshell/internal/outcome"
	"kshell/internal/settings"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// liveFlags are the flags that keep a session alive or end it.
type liveFlags struct {
	keepalive        time.Duration
	noIdleKeepalive  bool
	escape           string
	reconnect        string
	reconnectTimeout time.Duration
	connectTimeout   time.Duration
	keepaliveGiven   bool // set on the command line
	escapeGiven      bool
}

// The values without a flag or a setting.
const (
	keepaliveDefault      = 10 * time.Second
	connectTimeoutDefault = 10 * time.Second
	escapeDefault         = "~"
)

// The values of --reconnect.
const (
	reconnectAuto   = "auto"
	reconnectAlways = "always"
	reconnectNever  = "never"
)

var reconnects = []string{reconnectAuto, reconnectAlways, reconnectNever}

// policy returns the policy of --reconnect; auto is the policy of --reconnect=auto.
func (f *liveFlags) policy(auto stream.Reconnect) stream.Reconnect {
	switch f.reconnect {
	case reconnectAlways:
		return stream.ReconnectAlways
	case reconnectNever:
		return stream.ReconnectNever
	}
	return auto
}

// escapeNone switches the escape character off.
const escapeNone = "none"

func (f *liveFlags) addTo(flags *pflag.FlagSet) {
	flags.DurationVar(&f.keepalive, "keepalive", keepaliveDefault,
		"ping the server before it has been silent for this long; after 20 s of silence the connection counts as lost; 0 disables pings")
	flags.BoolVar(&f.noIdleKeepalive, "no-idle-keepalive", false, "let the server end a session in which nothing has happened for 4 hours (independent of --keepalive)")
	flags.StringVar(&f.escape, "escape-char", escapeDefault,
		"on a terminal, begins kshell's own keys at the beginning of a line (~? lists them); none disables them")
	flags.StringVar(&f.reconnect, "reconnect", reconnectAuto, "take a lost connection up again: auto (a shell on a terminal), always (run another command again, too), never")
	flags.DurationVar(&f.connectTimeout, "connect-timeout", connectTimeoutDefault,
		"how long to retry a connection that cannot be opened, before anything runs; 0 means no retries")
	flags.DurationVar(&f.reconnectTimeout, "reconnect-timeout", 10*time.Minute,
		"how long to try to reconnect a shell; 0 means no limit")
}

// applySettings applies the settings whose flags are not given. An error names
// the setting.
func (f *liveFlags) applySettings(s settings.Settings) error {
	if v := s.EscapeChar; v.Text != "" && !f.escapeGiven {
		f.escape = v.Text
		if !f.escapeFits() {
			return fmt.Errorf("setting %s from %s is not one character: %s", v.Key, v.Source, strconv.Quote(v.Text))
		}
	}
	if v := s.Keepalive; v.Text != "" && !f.keepaliveGiven {
		every, err := time.ParseDuration(v.Text)
		if err != nil || every < 0 {
			return fmt.Errorf("setting %s from %s is not a duration such as 30s: %s", v.Key, v.Source, strconv.Quote(v.Text))
		}
		f.keepalive = every
	}
	return nil
}

func (f *liveFlags) escapeFits() bool {
	return f.escape == escapeNone || len(f.escape) == 1 && f.escape[0] > ' ' && f.escape[0] <= '~'
}

func (f *liveFlags) check(cmd *cobra.Command) error {
	f.keepaliveGiven, f.escapeGiven = cmd.Flags().Changed("keepalive"), cmd.Flags().Changed("escape-char")
	if !f.escapeFits() {
		return outcome.NewUsageError("--escape-char "+strconv.Quote(f.escape)+" is not one character", "--escape-char '~', or none")
	}
	if !slices.Contains(reconnects, f.reconnect) {
		return outcome.NewUsageError("unknown --reconnect "+strconv.Quote(f.reconnect), "one of "+strings.Join(reconnects, ", "))
	}
	return cmp.Or(
		notNegative(cmd, "keepalive", f.keepalive), notNegative(cmd, "reconnect-timeout", f.reconnectTimeout),
		notNegative(cmd, "connect-timeout", f.connectTimeout),
	)
}

func (f *liveFlags) escapeChar() byte {
	if f.escape == escapeNone || f.escape == "" {
		return terminal.NoEscape
	}
	return f.escape[0]
}

// retries are the delays between the attempts to reconnect; with jitter, at most 15 s.
var retries = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 100, Cap: 12500 * time.Millisecond}

// proof is how long a new shell may take to report its process ID.
const proof = 20 * time.Second

// keysOfOurs are kshell's keys, typed after the escape character.
const keysOfOurs = ".R\x1ai?"

// keyDetach is another one, if the shell can be left running.
const keyDetach = 'd'

// keys handles kshell's keys on a terminal, and the terminal's modes. It is the
// observer of a session, and with driver its stream.Driver.
type keys struct {
	job     *job
	session *session
	term    *terminal.Terminal
	input   *terminal.Input
	typed   *terminal.Keys // reads input
	lines   terminal.LineGuard
	leave   context.CancelCauseFunc
	detach  func() // nil if the session cannot be resumed
	start   time.Time
	gap     *gap
	lost    atomic.Int32 // the number of lost connections
	wasRaw  atomic.Bool  // the session has set raw mode
	quiet   bool         // the user was told that the server does not answer

	resized                    <-chan struct{}
	stopResized, stopContinued func()
	closing                    sync.Once
}

// newKeys opens the local terminal. It does not change its modes. leave ends the
// session.
func (j *job) newKeys(leave context.CancelCauseFunc) (*keys, error) {
	input, err := terminal.NewInput(j.In) // each session needs its own: it cancels it
	if err != nil {
		return nil, fmt.Errorf("stdin: %w", err)
	}
	t, err := terminal.Open(j.In, j.Out)
	if err != nil {
		return nil, err
	}
	k := &keys{job: j, input: input, leave: leave, start: time.Now(), gap: &gap{job: j}, term: t}
	t.OnPanic = j.cleanup.AfterPanic
	j.cleanup.SetTerminal(t)
	k.resized, k.stopResized = t.Resized()
	k.stopContinued = t.OnContinue(k.continued)
	j.statusOn(t)
	return k, nil
}

// close restores the terminal. Only the first call has an effect.
func (k *keys) close() {
	k.closing.Do(func() {
		k.gap.stop()
		k.job.screen.SetStatus("")
		k.stopContinued()
		k.stopResized()
		k.term.Close()
		k.job.notice.SetCooked()
	})
}

// run runs a session on the terminal, which reconnects after a connection is lost.
func (k *keys) run(ctx context.Context, d stream.Driver, set stream.Settings) error {
	j, known := k.job, keysOfOurs
	if k.detach != nil {
		known += string(keyDetach)
	}
	k.typed = terminal.NewKeys(k.input, k.input.Cancel, j.plan.live.escapeChar(), known, k.press)
	j.in.Reader = k.typed
	set.Stdin, set.StdinFilter, set.Window = cancelableReader{&j.in, k.typed}, &k.lines, k
	set.Interactive, set.Reconnect = true, j.plan.live.policy(stream.ReconnectAlways)
	set.Eager, set.GiveUpAfter = true, j.plan.live.reconnectTimeout
	k.session = j.newSession(keysDriver{d, k}, k.observe, set)
	j.screen.Redraw = k.session.Redraw
	return k.session.Run(ctx)
}

// Size implements stream.Window.
func (k *keys) Size() (width, height uint16, ok bool) {
	size, err := k.term.Size()
	return size.Width, size.Height, err == nil
}

// Resized implements stream.Window.
func (k *keys) Resized() <-chan struct{} { return k.resized }

// keysDriver is a stream.Driver whose sessions use the terminal: while it opens a
// connection, a credential plugin may use the terminal, and from then on it is raw.
type keysDriver struct {
	stream.Driver
	keys *keys
}

// Dial implements stream.Driver.
func (d keysDriver) Dial(ctx context.Context) (*stream.Conn, error) {
	defer d.keys.lend()()
	return d.Driver.Dial(ctx)
}

// Opened implements stream.Driver.
func (d keysDriver) Opened(ctx context.Context, conn *stream.Conn) error {
	if err := d.Driver.Opened(ctx, conn); err != nil { // before the terminal is raw: Ctrl-C must send a signal, since no key is read yet
		return err
	}
	if err := d.keys.enter(); err != nil {
		return err
	}
	d.keys.connected()
	return nil
}

// connected tells the user that there is a connection again.
func (k *keys) connected() {
	j, outage := k.job, k.gap.over()
	if !k.gap.same {
		j.tidy()
	}
	switch {
	case outage == 0:
		return
	case !k.gap.same:
		j.notice.Note("connected again after %s: this is a new shell", seconds(outage))
		if k.lines.Connected() {
			j.notice.NoteAlways("the line being typed was lost: press Enter, and type it again")
		}
		return
	}
	j.screen.SetStatus("")
	if !j.screen.FullScreen() {
		j.notice.Note("connected again after %s: the shell is the same", seconds(outage))
	}
	k.lines.Connected()
}

// observe is the observer of the session.
func (k *keys) observe(e stream.Event) {
	switch e := e.(type) {
	case stream.Connecting:
		k.gap.try()
	case stream.Failed:
		var lost *stream.LostError
		if errors.As(e.Err, &lost) { // else an attempt to reconnect has failed
			k.lost.Add(1)
		}
		k.typed.NewLine() // the part of a line that was typed is lost
		k.gap.fail(e.Err)
	case stream.Waiting:
		k.gap.wait(e.Delay)
	case stream.Overdue:
		k.overdue(e.For)
	}
}

// enter sets raw mode at the beginning of a connection.
func (k *keys) enter() error {
	k.typed.NewLine()
	if err := k.raw(); err != nil {
		return err
	}
	k.job.notice.SetRaw(&k.job.screen)
	return nil
}

// raw sets raw mode. close restores the terminal.
func (k *keys) raw() error {
	if _, err := k.term.Raw(); err != nil {
		return err
	}
	k.wasRaw.Store(true)
	return nil
}

// suspend suspends kshell.
func (k *keys) suspend() {
	k.term.Restore()
	err := terminal.Suspend()
	k.continued()
	if err != nil {
		k.job.notice.WarnAlways("%s", err)
	}
}

// continued sets raw mode again after kshell was stopped. In the background that
// fails; it is called again when kshell is continued in the foreground.
func (k *keys) continued() {
	if k.wasRaw.Load() {
		_ = k.raw()
	}
}

// tidy resets the terminal modes that an ended or lost program has left set.
func (j *job) tidy() {
	if reset := j.screen.Reset(); len(reset) > 0 && terminal.IsTerminal(j.Out) {
		_, _ = j.Out.Write(reset) // an error means that there is no terminal to reset
	}
}

// press performs the action of a key typed after the escape character. The goroutine
// that reads the terminal calls it.
func (k *keys) press(key byte) {
	n, char := k.job.notice, k.job.plan.live.escape
	switch key {
	case '.':
		k.leave(outcome.ErrLeft)
	case 'R':
		k.session.Again()
	case 0x1a:
		k.suspend()
	case keyDetach:
		k.detach()
	case 'i':
		for _, line := range k.info() {
			n.NoteAlways("%s", line)
		}
	case '?':
		if k.detach != nil {
			n.NoteAlways("%sd leave it running", char)
		}
		for _, line := range []string{". leave", "R reconnect now", "^Z suspend kshell", "i about this session", "? this list", char + " the character itself"} {
			n.NoteAlways("%s", char+line)
		}
	}
}

// answering is the time limit for measuring the round trip, during which no keys are
// read.
var answering = time.Second

// info describes the session, in lines.
func (k *keys) info() []string {
	j := k.job
	at := j.where()
	lines := []string{fmt.Sprintf("pod %s, container %s, namespace %s", at.pod, at.container, at.namespace)}
	if at.seen != nil {
		lines = append(lines, "node "+at.seen.Pod.Spec.NodeName)
	}
	state := "disconnected from " + j.dialer.Server()
	if conn := k.session.Conn(); conn != nil {
		state = fmt.Sprintf("connected to %s by %s, round trip %s", j.dialer.Server(), conn.Protocol(), k.roundTrip())
	}
	return append(lines, state, fmt.Sprintf("for %v: %d bytes typed, %d bytes shown, connections lost: %d",
		time.Since(k.start).Round(time.Second), j.in.count(), j.out.count(), k.lost.Load()))
}

func (k *keys) roundTrip() string {
	ctx, cancel := context.WithTimeout(context.Background(), answering)
	defer cancel()
	took, ok := k.session.RoundTrip(ctx)
	if !ok {
		return "unknown (no answer)"
	}
	return took.Round(10 * time.Microsecond).String()
}
