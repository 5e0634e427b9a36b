package suite

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kshell/test/contract"
)

// scene is what a user does in a shell of a pod.
type scene struct {
	name string
	args string // arguments of exec
	play func(w *pane)
	code int // exit code of the shell
}

var scenes = []scene{
	{"prompt", "-it bashpod -- bash", promptAndExitCode, 3},
	{"ash", "-it web -- sh", ash, 0},
	{"a container is chosen", "-it multi -- sh", ash, 0},
	{"keys that are signals", "-it bashpod -- bash", signalKeys, 0},
	{"size", "-it bashpod -- bash", sizes, 0},
	{"vi", "-it bashpod -- bash", vi, 0},
	{"less", "-it bashpod -- bash", less, 0},
	{"top", "-it bashpod -- bash", top, 0},
	{"colours", "-it bashpod -- bash", colors, 0},
	{"wide characters", "-it bashpod -- bash", wide, 0},
	{"a paste of 64 KiB", "-it bashpod -- bash", paste, 0},
}

// TestScreens_Kubectl plays each scene with kubectl, and then with kshell and
// each of the API servers, in windows of the same size. It compares the
// screens, including colors.
func TestScreens_Kubectl(t *testing.T) {
	notInCI(t)
	server := newTmux(t)
	clear(seenDifferences)
	for _, s := range scenes {
		t.Run(strings.ReplaceAll(s.name, " ", "_"), func(t *testing.T) {
			reference := s.run(t, server, kubectl(), nil)
			for _, way := range apiPaths() {
				t.Run(way.name, func(t *testing.T) {
					s.run(t, server, program(way.kubeconfig), reference)
				})
			}
		})
	}
	if t.Failed() {
		return
	}
	for _, d := range intendedDifferences {
		if !seenDifferences[d.line.String()] {
			t.Errorf("a difference is listed (%s: %s), but did not occur", d.line, d.why)
		}
	}
}

// run plays the scene in a new window, from one local prompt to the next, and
// returns its screens.
func (s scene) run(t *testing.T, server *tmux, p contract.Program, want map[string]screen) map[string]screen {
	t.Cleanup(func() {
		if t.Failed() {
			clearPods(t)
		}
	})
	w := server.open(t, p, want)
	before := w.settings("before")
	w.local("clear")
	w.enter("$CLI exec " + s.args)
	s.play(w)
	if s.code == 0 {
		w.keys("C-d")
	} else {
		w.enter(fmt.Sprintf("exit %d", s.code))
	}
	w.prompt("local")
	w.local("echo code $?")
	w.line(fmt.Sprintf("code %d", s.code))
	w.shot("the end")
	if after := w.settings("after"); after != before {
		t.Errorf("the terminal was changed\nbefore: %s\nafter:  %s", before, after)
	}
	return w.shots
}

// clearPods ends processes that a failed scene has left in the pods: a remote
// shell outlives its client.
func clearPods(t *testing.T) {
	// A cleanup needs a new context, because that of the test is canceled.
	ctx, cancel := context.WithTimeout(
		context.WithoutCancel(t.Context()),
		screenTimeout,
	)
	defer cancel()
	for _, name := range []string{"bashpod", "web", "multi"} {
		cmd := kubectl().Command(ctx, t, "exec", name, "--", "sh", "-c", "kill -9 -1; exit 0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("the processes left in pod %s were not ended: %v: %s", name, err, out)
		}
	}
}

// bash waits for bash in the pod, and numbers its prompts.
func bash(w *pane) {
	w.t.Helper()
	w.wait("bash's prompt", func(s screen) bool { return strings.HasSuffix(s.last(), "#") })
	w.shot("the first prompt")
	w.enter(`unset HISTFILE; PS1='pod \#> '`)
	w.prompts["pod"]++ // the first prompt with this PS1 has number 2
	w.prompt("pod")
}

func promptAndExitCode(w *pane) {
	bash(w)
	w.remote("stty size; stty -a")
	w.line(fmt.Sprint(rows, columns))
	w.remote("echo out; echo err >&2; false")
	w.remote("echo a long line, edited; echo $?")
	w.keys("Up", "C-a")
	w.text("echo before; ")
	w.keys("C-e", "Left", "BSpace", "Delete")
	w.text("$HOME")
	w.keys("C-a", "C-k", "C-y", "Enter")
	w.prompt("pod")
	w.line("before")
	w.line("/root")
	w.shot("an edited line")
	w.remote("clear")
}

func ash(w *pane) {
	w.wait("ash's prompt", func(s screen) bool { return s.last() == "/ #" })
	w.shot("the first prompt")
	w.enter("stty size; cd /tmp; echo $((6 * 7))")
	w.line("42")
	w.wait("the prompt in /tmp", func(s screen) bool { return s.last() == "/tmp #" })
	w.shot("a command")
}

// signalKeys checks that Ctrl-C, Ctrl-Z and Ctrl-\ are handled by the remote
// terminal.
func signalKeys(w *pane) {
	const sleep = `sh -c 'echo as""leep; exec sleep 100'`
	bash(w)
	w.enter(sleep)
	w.line("asleep")
	w.keys("C-c")
	w.prompt("pod")
	w.remote("echo $?; clear")
	w.shot("interrupted")
	w.enter(sleep)
	w.line("asleep")
	w.keys("C-z")
	w.prompt("pod")
	w.shot("stopped")
	w.remote("jobs; bg; clear; jobs")
	w.enter("fg")
	w.contains("> fg\nsh -c")
	w.keys(`C-\`)
	w.prompt("pod")
	w.remote("echo $?; jobs")
	w.line("131")
	w.text("never ended")
	w.keys("C-c")
	w.wait(
		"a new prompt",
		func(s screen) bool { return strings.HasPrefix(s.last(), "pod") && !strings.Contains(s.last(), "never") },
	)
	w.shot("quit")
	w.remote("true")
}

// sizes checks that the remote terminal gets new sizes, and that its programs
// are notified.
func sizes(w *pane) {
	const follow = `until [ "$(stty size)" = "%d %d" ]; do usleep 10000; done; clear; echo sized`
	bash(w)
	for _, to := range [][2]int{{80, 24}, {20, 5}, {300, 70}} {
		w.resize(to[0], to[1])
		w.remote(fmt.Sprintf(follow, to[1], to[0]))
		w.line("sized")
	}
	for i := range 30 { // only the last size matters
		w.resize(60+i, 20+i%7)
	}
	w.resize(columns, rows)
	w.remote(fmt.Sprintf(follow, rows, columns))
	w.line("sized")
	w.shot("after a storm")

	w.enter("watch -t -n 1 stty size")
	w.line("30 100")
	w.resize(90, 25)
	w.line("25 90")
	w.shot("watch is redrawn")
	w.keys("C-c")
	w.prompt("pod")

	w.remote(
		"seq 200 | sed 's/$/ and some words to fill the line of a window that is a hundred wide, " +
			"as well as it goes/' >/tmp/sizes",
	)
	w.enter("vi /tmp/sizes")
	w.contains("- /tmp/sizes 1/200")
	for _, to := range [][2]int{{120, 40}, {60, 20}, {columns, rows}} {
		w.resize(to[0], to[1])
		w.wait(fmt.Sprintf("vi's last line in row %d", to[1]), func(s screen) bool {
			return len(s.lines) == to[1] && strings.HasPrefix(s.last(), "- /tmp/sizes 1/200") &&
				strings.HasPrefix(s.lines[to[1]-2], fmt.Sprint(to[1]-1, " "))
		})
		w.shot(fmt.Sprint("vi in ", to))
	}
	w.enter(":q!")
	w.prompt("pod")
	w.remote("rm /tmp/sizes; clear")
}

func vi(w *pane) {
	bash(w)
	w.enter("vi /tmp/vi")
	w.contains("- /tmp/vi")
	w.shot("opened")
	w.text("ihello\rthe second line\r\tlast")
	w.contains("I /tmp/vi")
	w.contains("        last")
	w.keys("Escape")
	w.contains("- /tmp/vi")
	w.text("2GyyP")
	w.contains("hello\nthe second line\nthe second line")
	w.text("/second\r")
	w.text("cw2nd")
	w.contains("the 2nd line")
	w.keys("Escape")
	w.contains("- /tmp/vi")
	w.shot("edited")
	w.enter(":wq")
	w.prompt("pod")
	w.shot("left")
	const want = "hello\nthe 2nd line\nthe second line\n\tlast\n"
	if got := w.program.Run(w.t, nil, "exec", "bashpod", "--", "cat", "/tmp/vi"); got.Out != want {
		w.t.Errorf("the file is %q, want %q", got.Out, want)
	}
	w.remote("rm /tmp/vi")
}

func less(w *pane) {
	bash(w)
	w.enter("seq 500 | less -M")
	first := func(line string) {
		w.t.Helper()
		w.wait("line "+line+" on top", func(s screen) bool { return len(s.lines) == rows && s.lines[0] == line })
	}
	first("1")
	w.shot("opened")
	w.keys("PageDown")
	first("30")
	w.keys("Down")
	first("31")
	w.shot("a page on")
	w.enter("/321")
	first("321")
	w.shot("found")
	w.text("G")
	first("474")
	w.shot("the last page")
	w.text("q")
	w.prompt("pod")
	w.shot("left")
}

func top(w *pane) {
	bash(w)
	w.remote("clear; stty -g >/tmp/top")
	w.enter("top -d 1")
	w.contains("PID  PPID USER     STAT   VSZ %VSZ %CPU COMMAND\n")
	w.contains("sleep infinity\n")
	w.wait("top's head", func(s screen) bool {
		return len(s.lines) > 2 && strings.HasPrefix(s.lines[0], "Mem: ") && strings.HasPrefix(s.lines[1], "CPU: ") &&
			strings.HasPrefix(s.lines[2], "Load average: ")
	})
	w.text("q")
	w.prompt("pod")
	w.remote("clear; stty -g | cmp - /tmp/top && echo the same")
	w.line("the same")
	w.remote("rm /tmp/top")
	w.shot("left")
}

func colors(w *pane) {
	bash(w)
	w.remote(`for i in $(seq 0 255); do printf '\033[48;5;%dm%3d' $i $i; done; printf '\033[0m\n'`)
	w.remote(`for i in $(seq 0 5 255); do printf '\033[38;2;%d;100;%dmx' $i $((255 - i)); done; printf '\033[0m\n'`)
	w.remote(`printf '\033[1mbold\033[0m \033[3;4;7mall\033[0m \033[9;91mred\033[0m \033[4:3mcurly\033[0m\n'`)
	w.shot("coloured")
	colorful := w.screen(true).String()
	for _, code := range []string{"\x1b[48;5;255m", "\x1b[38;2;100;100;155m", "\x1b[1mbold", "\x1b[9m\x1b[91mred"} {
		if !strings.Contains(colorful, code) {
			w.t.Errorf("the screen lacks %q:\n%q", code, colorful)
		}
	}
}

// wide checks wide characters, printed by the pod and typed.
func wide(w *pane) {
	const words = "日本語 한국어 ｗｉｄｅ e\u0301a\u0308 🙂 👩\u200d💻 ←→ ñ"
	bash(w)
	w.remote("clear; printf '" + octal(words) + `\n'`)
	w.line(words)
	w.ready("cat")
	w.enter(words)
	w.wait("the words twice: echoed and printed", func(s screen) bool {
		return len(s.lines) == 3 && s.lines[1] == words && s.lines[2] == words
	})
	w.shot("typed")
	w.text("日本X語")
	// The remote terminal decides how many bytes or columns each Backspace
	// removes.
	w.keys("BSpace", "BSpace", "BSpace", "BSpace", "Enter")
	w.keys("C-d")
	w.prompt("pod")
	w.shot("erased")
	w.ready(`read -r words; echo "<$words>" | od -An -tx1`)
	w.enter("e\u0301語🙂")
	w.prompt("pod")
	w.contains(" 3c 65 cc 81 e8 aa 9e f0 9f 99 82 3e 0a")
	w.shot("the bytes are the same")
}

// octal writes words as octal escapes for printf, so that the command line does
// not contain them.
func octal(words string) string {
	var b strings.Builder
	for i := range len(words) {
		fmt.Fprintf(&b, `\%03o`, words[i])
	}
	return b.String()
}

func paste(w *pane) {
	const size = 64 << 10
	bash(w)
	text := pasted(size)
	file := filepath.Join(w.dir, "paste")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.ready("cat >/tmp/paste")
	w.run(w.t, "load-buffer", "-b", "paste", file)
	w.tmuxTo("paste-buffer", "-b", "paste", "-d")
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := lines[len(lines)-rows+1:]
	w.wait("the last lines of the paste", func(s screen) bool { return slices.Equal(s.lines, last) })
	w.shot("pasted")
	w.keys("C-d")
	w.prompt("pod")
	w.remote("clear; sha256sum </tmp/paste; wc -c </tmp/paste; rm /tmp/paste")
	w.line(fmt.Sprintf("%x  -", sha256.Sum256(text)))
	w.line(fmt.Sprint(size))
	w.shot("summed")
}

// pasted returns different lines of 63 letters.
func pasted(size int) []byte {
	random := rand.NewChaCha8([32]byte{'p', 'a', 's', 't', 'e'})
	raw := make([]byte, 63*3/4+1)
	var text []byte
	for len(text) < size {
		_, _ = random.Read(raw)
		text = append(text, base64.StdEncoding.EncodeToString(raw)[:63]...)
		text = append(text, '\n')
	}
	return text[:size]
}

// After a signal to kshell, the local shell continues, and its terminal is
// restored.
func TestScreens_Signal(t *testing.T) {
	notInCI(t)
	server := newTmux(t)
	for _, way := range apiPaths() {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGINT} {
			t.Run(way.name+"/"+strings.ReplaceAll(signal.String(), " ", "_"), func(t *testing.T) {
				t.Cleanup(func() { clearPods(t) }) // the remote shell still runs
				w := server.open(t, program(way.kubeconfig), nil)
				before := w.settings("before")
				w.enter("$CLI exec bashpod")
				bash(w)
				w.remote("echo here")
				if err := syscall.Kill(w.foreground(), signal); err != nil {
					t.Fatal(err)
				}
				w.wait("the local prompt", func(s screen) bool {
					return strings.HasSuffix(s.last(), fmt.Sprintf("local %d>", w.prompts["local"]+1))
				})
				w.prompts["local"]++
				w.local("echo code $?")
				w.line(fmt.Sprintf("code %d", 128+int(signal)))
				if after := w.settings("after"); after != before {
					t.Errorf("the terminal was changed\nbefore: %s\nafter:  %s", before, after)
				}
			})
		}
	}
}
