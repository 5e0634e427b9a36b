package exact

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// TerminateCommand returns a command only if the script cannot detect that the
// client has disconnected.
func TestTerminateCommand(t *testing.T) {
	full := func() io.Reader { return strings.NewReader(strings.Repeat("x", 2*pipeCapacity)) }
	broken := func() io.Reader { return io.MultiReader(full(), iotest.ErrReader(io.ErrUnexpectedEOF)) }
	short := func() io.Reader { return strings.NewReader("input") }
	tests := map[string]struct {
		input   func() io.Reader
		options Options
		message string
		end     string
		want    bool
	}{
		"more than a pipe":     {full, Options{}, runningMessage, "", true},
		"fits in a pipe":       {short, Options{}, runningMessage, "", false},
		"no input":             {nil, Options{}, runningMessage, "", false},
		"kept":                 {full, Options{KeepRunning: true}, runningMessage, "", false},
		"kept, all input sent": {full, Options{KeepRunning: true, EndIfInputCut: true}, runningMessage, "", false},
		"kept, input cut":      {broken, Options{KeepRunning: true, EndIfInputCut: true}, runningMessage, "", true},
		"ended":                {full, Options{}, runningMessage, "ended 1", false},
		"one stream ended":     {full, Options{}, runningMessage, "half", true},
		"not a process ID":     {full, Options{}, messageRunning + "1; rm -r /", "", false},
		"not started":          {full, Options{}, "alive", "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if test.input != nil {
					test.options.Stdin = test.input()
				}
				r := New(test.options)
				sent := make(chan received)
				go func() { sent <- parse(t, r.Stdin()) }()
				message := func(text string) string { return markStart + r.mark + text + "\n" }
				_ = writePieces(r.Stderr(), message(test.message))
				synctest.Wait()
				switch test.end {
				case "half":
					_ = writePieces(r.Stderr(), message("ended 1"))
				case "":
				default:
					_ = writePieces(r.Stderr(), message(test.end))
					_ = writePieces(r.Stdout(), message(test.end))
				}
				r.Cancel()
				got := r.TerminateCommand()
				if (got != nil) != test.want {
					t.Errorf("got %q, want a command: %t", got, test.want)
				}
				if test.want && !strings.HasSuffix(strings.Join(got, " "), " -4321") {
					t.Errorf("%q does not end the group 4321", got)
				}
				synctest.Wait()
				select {
				case <-sent:
				default:
					t.Error("Stdin does not end after Cancel")
				}
			})
		})
	}
}

// A new connection starts with none of the state of the previous one.
// Stdout and stderr may arrive in any order.
func TestRun_OutputBeforeReport(t *testing.T) {
	r := New(Options{Stdout: io.Discard})
	for want, before := range map[State]func(){
		Unknown: r.Reset,
		Running: func() { _ = writePieces(r.Stdout(), "output") },
	} {
		before()
		if state, _ := r.State(); state != want {
			t.Errorf("state %d, want %d", state, want)
		}
	}
}

func TestRun_Reset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs strings.Builder
		r := New(Options{Stderr: &errs})
		r.stdin.rest = nil
		message := func(text string) string { return markStart + r.mark + text + "\n" }
		_ = writePieces(r.Stderr(), message(runningMessage))
		_ = writePieces(r.Stdout(), message("ended 1")) // the connection breaks before stderr ends
		r.stdin.ping()
		r.Reset()
		if state, _ := r.State(); state != Unknown {
			t.Errorf("state %d, want Unknown", state)
		}
		_ = writePieces(r.Stderr(), "sh: warning\n"+message(runningMessage))
		if got := r.ShellError(); got != "sh: warning\n" || errs.Len() > 0 {
			t.Errorf("the error of the shell is %q, and %q was passed on", got, errs.String())
		}
		line := make([]byte, 10)
		time.AfterFunc(time.Second, r.stdin.ping)
		from := time.Now()
		if n, err := r.Stdin().Read(line); string(line[:n]) != "?\n" || err != nil || time.Since(from) != time.Second {
			t.Errorf("sent %q (%v) after %s, want the line ? after 1 s", line[:n], err, time.Since(from))
		}
		_ = writePieces(r.Stderr(), message("ended 2"))
		if err := writePieces(r.Stdout(), message("ended 2")); !errors.Is(err, ErrEnded) {
			t.Errorf("%v, want ErrEnded", err)
		}
		r.Cancel()
	})
}

// While the command runs, an empty line is sent every 5 s, which makes the
// script check its processes. After the end of one stream, an empty line is sent
// every 30 s, until the other stream ends.
func TestRun_EmptyLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{})
		r.stdin.rest = nil
		message := func(text string) string { return markStart + r.mark + text + "\n" }
		line := make([]byte, 10)
		next := func() string {
			n, _ := r.Stdin().Read(line)
			return string(line[:n])
		}
		_ = writePieces(r.Stderr(), message(runningMessage))
		from := time.Now()
		for range 3 {
			if got := next(); got != "\n" {
				t.Errorf("sent %q, want an empty line", got)
			}
		}
		if took := time.Since(from); took != 3*5*time.Second {
			t.Errorf("three checks after %s, want %s", took, 3*5*time.Second)
		}
		_ = writePieces(r.Stderr(), message("ended 2"))
		from = time.Now()
		r.stdin.ping()
		for range 3 {
			if got := next(); got != "\n" {
				t.Errorf("sent %q, want an empty line", got)
			}
		}
		if took := time.Since(from); took != 3*30*time.Second {
			t.Errorf("three lines after %s, want %s", took, 3*30*time.Second)
		}
		time.AfterFunc(time.Hour, func() { r.Cancel() })
		from = time.Now()
		_ = writePieces(r.Stdout(), message("ended 2"))
		if got := next(); got != "" || time.Since(from) < time.Hour {
			t.Errorf("sent %q after the end of both streams", got)
		}
	})
}

// If there is input, the rest of the script is sent once, when the script
// requests it or reports that the command is running, whichever comes first. The
// two messages arrive on different streams.
func TestRun_RestIsSentOnce(t *testing.T) {
	for name, readyFirst := range map[string]bool{"ready first": true, "running first": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &countingReader{Reader: strings.NewReader("input")}
				r := New(Options{Stdin: source})
				ready := func() { _ = writePieces(r.Stdout(), markStart+r.mark+messageReady+"\n") }
				running := func() { _ = writePieces(r.Stderr(), markStart+r.mark+runningMessage+"\n") }
				piece := make([]byte, 32<<10)
				next := func() string {
					n, _ := r.Stdin().Read(piece)
					return string(piece[:n])
				}
				rest := string(blocksScript.message(idleLimit))
				if readyFirst {
					ready()
					if got := next(); got != rest {
						t.Errorf("sent %.100q, want the rest of the script", got)
					}
					if source.read.Load() > 0 {
						t.Error("the input was read before the command was running")
					}
					running()
				} else {
					running()
					if got := next(); got != rest {
						t.Errorf("sent %.100q, want the rest of the script", got)
					}
					ready()
				}
				if got := next(); got != "text input\n" {
					t.Errorf("sent %.100q, want the input", got)
				}
				r.Cancel()
			})
		})
	}
}

// The first part of the script is sent at the beginning of each connection. The
// rest is sent when the command is running, before a ping or a block.
func TestRun_ScriptOverStdin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{})
		command := r.CommandOverStdin([]string{"it's"}, true)
		if strings.Contains(strings.Join(command, " "), "it's") {
			t.Errorf("the command contains its arguments: %q", command)
		}
		piece := make([]byte, 32<<10)
		next := func() string {
			n, _ := r.Stdin().Read(piece)
			return string(piece[:n])
		}
		for range 2 {
			r.Reset()
			script := next()
			if !strings.Contains(script, nothingScript.start) || command[3] != strconv.Itoa(len(script)) {
				t.Errorf("sent %d bytes, %.100q, after the command %q", len(script), script, command)
			}
			r.stdin.ping()
			early := make(chan string, 1)
			go func() { early <- next() }()
			synctest.Wait()
			select {
			case line := <-early:
				t.Fatalf("sent %.100q before the command runs", line)
			default:
			}
			_ = writePieces(r.Stderr(), markStart+r.mark+runningMessage+"\n")
			if got := <-early; got != string(nothingScript.message(idleLimit)) {
				t.Errorf("sent %.100q, want the rest of the script", got)
			}
			if got := next(); got != "?\n" {
				t.Errorf("sent %.100q after the rest, want ?", got)
			}
		}
		r.Cancel()
	})
}
