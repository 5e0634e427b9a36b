// Package notice prints all messages of kshell. It does not know Kubernetes,
// the network or the terminal.
//
// Invariants:
//   - A message is one line that begins with "kshell: ". It is in lower case
//     and has no final period. A line with the prefix "hint: " contains what to
//     type next.
//   - Text from servers, files and arguments is cleaned: see Clean.
//   - After SetASCII, a message is ASCII; see ASCII.
//   - On a raw terminal a line ends in CR LF. A message and remote output never
//     share a line: the state of the screen is read and the message is written
//     as one step.
//   - In a hint, a command to type is in backquotes, unless the hint is only
//     the command.
//   - -q hides notes, warnings and details; -v shows details. Errors, hints and
//     the messages of NoteAlways and WarnAlways are always printed.
package notice

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

const (
	messagePrefix = "kshell: "
	warningPrefix = messagePrefix + "warning: "
	hintPrefix    = "hint: "
)

// Printer prints messages. Its methods may be called from any goroutine.
type Printer struct {
	Quiet     bool // -q
	Verbosity int  // how often -v was given
	// Commands completes the commands in hints. If it is nil, they are printed
	// unchanged.
	Commands Commands

	prefix string // printed before each message except hints
	out    *output
}

// output is the destination of messages. A Printer shares it with the Printers
// that WithPrefix returns.
type output struct {
	mu     sync.Mutex
	w      io.Writer
	ascii  bool
	raw    bool
	screen Screen // nil if no remote output goes to the terminal

	terminal   Terminal  // nil if w is not a terminal on which a line can be updated
	redirected bool      // w is not the writer of New
	inPlace    *Progress // the wait that has the progress line on the terminal; nil if there is none
	progress   string    // the text of the progress line; "" until the first Update
}

// Screen is the remote output on the terminal to which the Printer writes
// messages.
type Screen interface {
	// BetweenLines calls write while remote output waits. write writes a line
	// to the terminal. midLine reports whether the remote output ends within a
	// line, which write must end first.
	BetweenLines(write func(midLine bool))
}

// New returns a Printer that writes to w.
func New(w io.Writer) *Printer { return &Printer{out: &output{w: w}} }

// WithPrefix returns a Printer for messages about one of several pods or nodes:
// each message begins with name. The exported fields are copied.
func (p *Printer) WithPrefix(name string) *Printer {
	return &Printer{Quiet: p.Quiet, Verbosity: p.Verbosity, Commands: p.Commands, prefix: name + ": ", out: p.out}
}

// SetASCII makes all later messages ASCII.
func (p *Printer) SetASCII() {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.out.ascii = true
}

// inLocale returns text, in ASCII after SetASCII. The caller must hold o.mu.
func (o *output) inLocale(text string) string {
	if o.ascii {
		return ASCII(text)
	}
	return text
}

// SetRaw declares that the terminal is in raw mode, and that s is the remote
// output on it. It has no effect if the messages go to a file.
func (p *Printer) SetRaw(s Screen) {
	o := p.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if !isFile(o.w) {
		o.raw, o.screen = true, s
	}
}

// SetCooked declares that the terminal is no longer in raw mode.
func (p *Printer) SetCooked() {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.out.raw = false
}

// Redirect makes messages go to w, one Write per line, until undo is called.
// During that time, the line of a Progress is not on the terminal.
func (p *Printer) Redirect(w io.Writer) (undo func()) {
	o := p.out
	o.mu.Lock()
	defer o.mu.Unlock()
	before, was := o.w, o.redirected
	if o.progress != "" && !was {
		_, _ = io.WriteString(o.w, clearLine)
	}
	o.w, o.redirected = w, true
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.w, o.redirected = before, was
		if o.progress != "" && !was {
			_, _ = io.WriteString(o.w, clearLine+o.progressLine())
		}
	}
}

// isFile reports whether w is a regular file.
func isFile(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// line writes one line. Write errors are ignored: there is nowhere to report
// them.
func (o *output) line(prefix, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := "\n"
	if o.raw {
		end = "\r\n"
	}
	line := o.inLocale(prefix+Clean(text)) + end
	if o.screen == nil {
		if o.progress != "" && !o.redirected {
			line = clearLine + line + o.progressLine()
		}
		_, _ = io.WriteString(o.w, line)
		return
	}
	o.screen.BetweenLines(func(midLine bool) {
		if midLine {
			line = end + line
		}
		_, _ = io.WriteString(o.w, line)
	})
}

func (p *Printer) message(format string, args []any) {
	p.out.line(messagePrefix+p.prefix, fmt.Sprintf(format, args...))
}

// Note prints a message. -q hides it.
func (p *Printer) Note(format string, args ...any) {
	if !p.Quiet {
		p.message(format, args)
	}
}

// NoteAlways prints a message even with -q.
func (p *Printer) NoteAlways(format string, args ...any) { p.message(format, args) }

// Detail prints a message with -v, but not with -q.
func (p *Printer) Detail(format string, args ...any) {
	if p.Verbosity > 0 && !p.Quiet {
		p.message(format, args)
	}
}

// Warn prints a warning. -q hides it.
func (p *Printer) Warn(format string, args ...any) {
	if !p.Quiet {
		p.WarnAlways(format, args...)
	}
}

// WarnAlways prints a warning even with -q. It is for failures after which the
// program continues.
func (p *Printer) WarnAlways(format string, args ...any) {
	p.out.line(warningPrefix+p.prefix, fmt.Sprintf(format, args...))
}

// Hint prints a hint for the preceding message, even with -q.
func (p *Printer) Hint(format string, args ...any) {
	p.out.line(hintPrefix, p.withCommands(fmt.Sprintf(format, args...)))
}

// Error prints err and its hint, even with -q. A nil err prints nothing.
func (p *Printer) Error(err error) {
	if err == nil {
		return
	}
	p.NoteAlways("%s", err)
	for hint := range strings.Lines(HintOf(err)) {
		p.Hint("%s", hint)
	}
}

// Ask prints a question. The answer is typed on the same line.
func (p *Printer) Ask(question string) {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	_, _ = io.WriteString(p.out.w, p.out.inLocale(messagePrefix+Clean(question)+" "))
}

// DetailWriter returns a writer for the logs of libraries. Each Write prints a
// message by Detail.
func (p *Printer) DetailWriter() io.Writer { return detailWriter{p} }

type detailWriter struct{ *Printer }

// Write implements io.Writer.
func (w detailWriter) Write(b []byte) (int, error) {
	w.Detail("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}
