package resume

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kshell/internal/agent"
	"kshell/internal/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a command that copies its input to its output, and exits with 7.
func echo(a *testAgent) {
	for {
		p, err := a.read()
		if err != nil {
			break
		}
		a.write(agent.Stdout, p)
	}
	a.exit(agent.Exited, 7, "")
}

func wantExit(t *testing.T, err error, code int) {
	t.Helper()
	var exit *stream.ExitError
	if !errors.As(err, &exit) || exit.Code != code {
		t.Errorf("got %v, want exit code %d", err, code)
	}
}

func TestSession_OutputAndExitCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, echo)
		var stdout bytes.Buffer
		input := strings.Repeat("0123456789", 200_000)
		err := w.newSession(stream.Settings{Stdin: strings.NewReader(input), Stdout: &stdout}, Config{}).Run(t.Context())
		wantExit(t, err, 7)
		if stdout.String() != input {
			t.Errorf("%d bytes", stdout.Len())
		}
		if w.runs != 1 || w.attaches != 0 || w.opened != 1 || len(w.ended) != 1 {
			t.Errorf("runs %d, attaches %d, opened %d, ended %v", w.runs, w.attaches, w.opened, w.ended)
		}
	})
}

// cuts breaks the newest connection at random times, until the function is called.
func (w *world) cuts(random *rand.Rand, every time.Duration) (stop func() int) {
	ended := make(chan struct{})
	var cutting sync.WaitGroup
	count := 0
	cutting.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(time.Duration(random.Int64N(int64(every)))):
			}
			w.network.mu.Lock()
			n := len(w.network.wires)
			w.network.mu.Unlock()
			if n > 0 {
				w.network.newest().cut(random)
				count++
			}
		}
	})
	return func() int { close(ended); cutting.Wait(); return count }
}

// A command copies its input while the connections break.
func TestSession_CommandWithCuts(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) {
				for {
					p, err := a.read()
					if err != nil {
						break
					}
					a.write(agent.Stdout, p)
					time.Sleep(time.Duration(len(p)) * time.Second / (15 << 10))
				}
				a.exit(agent.Exited, 7, "")
			})
			w.network.delay = time.Duration(1+seed*seed*20) * time.Millisecond
			input := make([]byte, 6<<20)
			for i := range input {
				input[i] = byte(random.Uint32())
			}
			var stdout bytes.Buffer
			stop := w.cuts(random, 20*time.Second)
			s := w.newSession(stream.Settings{
				LinkSettings: stream.LinkSettings{ConnectTimeout: time.Minute}, Stdin: bytes.NewReader(input), Stdout: &stdout,
			}, Config{})
			err := s.Run(t.Context())
			cuts := stop()
			wantExit(t, err, 7)
			if !bytes.Equal(stdout.Bytes(), input) || w.runs != 1 || cuts < 30 || w.attaches < 20 {
				t.Errorf("%d bytes, want %d; %d runs, %d attaches, %d cuts",
					stdout.Len(), len(input), w.runs, w.attaches, cuts)
			}
		})
	}
}

// A shell counts and echoes keys while the connections break: each number and
// each key appears once.
func TestSession_TerminalWithCuts(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			const keys = 1000
			random := rand.New(rand.NewPCG(seed, 3))
			w := newWorld(t, agent.SessionConfig{Terminal: true}, func(a *testAgent) {
				var counting sync.WaitGroup
				counting.Go(func() {
					for range 5000 {
						a.write(agent.Stdout, []byte("."))
						time.Sleep(100 * time.Millisecond)
					}
				})
				for n := 0; n < keys; {
					p, err := a.read()
					if err != nil {
						break
					}
					n += len(p)
					a.write(agent.Stdout, p)
				}
				counting.Wait()
				a.exit(agent.Exited, 7, "")
			})
			w.network.delay = time.Duration(1+seed*seed*20) * time.Millisecond
			stdin, typed := io.Pipe()
			ended := make(chan struct{})
			var typing sync.WaitGroup
			typing.Go(func() {
				for i := range keys {
					_, _ = typed.Write([]byte{byte('a' + i%26)})
					time.Sleep(500 * time.Millisecond)
				}
			})
			var stdout bytes.Buffer
			stop := w.cuts(random, 8*time.Second)
			s := w.newSession(stream.Settings{
				LinkSettings: stream.LinkSettings{ConnectTimeout: time.Minute}, Stdin: stdin, Stdout: &stdout, Interactive: true,
			}, Config{})
			var closing sync.WaitGroup
			closing.Go(func() { // the Read in progress ends when the pipe is closed
				select {
				case <-s.exited:
				case <-ended:
				}
				stdin.Close()
			})
			err := s.Run(t.Context())
			close(ended)
			closing.Wait()
			typing.Wait()
			cuts := stop()
			wantExit(t, err, 7)
			dots, letters := 0, 0
			for _, b := range stdout.Bytes() {
				switch b {
				case '.':
					dots++
				case byte('a' + letters%26):
					letters++
				default:
					t.Fatalf("after %d keys: %q", letters, b)
				}
			}
			if dots != 5000 || letters != keys || cuts < 80 || w.runs != 1 {
				t.Errorf("%d dots, %d keys, %d cuts, %d runs", dots, letters, cuts, w.runs)
			}
		})
	}
}

// A relay that is lost before the first Welcome is replaced, at any point of the
// setup, and the command is run once.
func TestSession_LossBeforeWelcome(t *testing.T) {
	lostSetup := func(w *world) { // before the agent is started
		w.setup = func(io.ReadWriter) bool {
			w.setup = w.ready
			return false
		}
	}
	lostReady := func(w *world) { // the agent was started, but the client does not know that
		w.setup = func(io.ReadWriter) bool {
			w.setup = w.ready
			w.network.newest().reset()
			return true
		}
	}
	lostHello := func(w *world) { // after the setup
		w.setup = func(relay io.ReadWriter) bool {
			w.setup = w.ready
			_ = w.ready(relay)
			time.Sleep(time.Second)
			w.network.newest().reset()
			return true
		}
	}
	lostWelcome := func(w *world) { // the agent has received the Hello
		w.setup = func(relay io.ReadWriter) bool {
			w.setup = w.ready
			_ = w.ready(relay)
			time.Sleep(time.Second)
			w.network.newest().down.lose()
			return true
		}
	}
	tests := []struct {
		name     string
		lose     func(*world)
		attaches int
	}{
		{"setup", lostSetup, 0}, {"ready", lostReady, 0}, {"Hello", lostHello, 1}, {"Welcome", lostWelcome, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) { a.exit(agent.Exited, 7, "") })
				test.lose(w)
				err := w.newSession(stream.Settings{
					LinkSettings: stream.LinkSettings{ConnectTimeout: time.Minute},
				}, Config{}).Run(t.Context())
				wantExit(t, err, 7)
				if w.runs != 1 || w.attaches != test.attaches || w.opened != 1 {
					t.Errorf("runs %d, attaches %d, opened %d", w.runs, w.attaches, w.opened)
				}
			})
		})
	}
}
