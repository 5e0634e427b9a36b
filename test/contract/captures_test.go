//go:build unix

package contract

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/charmbracelet/x/vt"

	"kshell/internal/agentbin"
	"kshell/test/faultproxy"
)

var update = flag.Bool("update", false, "write the captures and the recording in docs")

// documents are the files that contain the captures, which are copies of what a
// terminal shows. An HTML comment before each capture contains its name.
var documents = []string{"../../docs/sessions.md", "../../docs/resume.md"}

// statusEnd is the end of a status line.
const statusEnd = `\x1b\[m`

// scenes maps the name of each capture to a function that produces what the
// capture shows.
var scenes = map[string]func(*testing.T, Setup) *Terminal{
	"silence": func(t *testing.T, w Setup) *Terminal {
		term, proxy := w.shell(t)
		blackHole(proxy, true)
		term.WaitFor(`no reply for [0-9]+ s ` + statusEnd)
		return term
	},
	"reset": func(t *testing.T, w Setup) *Terminal {
		term, proxy := w.shell(t)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.WaitFor(newShell)
		term.WaitFor(`[$#] `)
		return term
	},
	"outage": func(t *testing.T, w Setup) *Terminal {
		term, proxy := w.shell(t)
		refuse(t, proxy, true)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.WaitFor(`connection refused\r\n`)
		term.WaitFor(retryCountdown + ` ` + statusEnd)
		return term
	},
	"deleted": func(t *testing.T, w Setup) *Terminal {
		term := w.Shell(t, "-it", "deploy/web", "--", "sh")
		pod := regexp.MustCompile(`web-[a-z0-9]+-[a-z0-9]+`).FindString(term.Text())
		w.Delete(t, pod)
		term.WaitFor(newShell)
		term.WaitFor(`[$#] `)
		return term
	},
	"gone": func(t *testing.T, w Setup) *Terminal {
		pod := w.Pod(t)
		term := w.Shell(t, "-it", pod, "--", "sh")
		w.Delete(t, pod)
		term.CheckExit(137)
		return term
	},
	"keys": func(t *testing.T, w Setup) *Terminal {
		term, _ := w.shell(t)
		term.Type("~?")
		term.WaitFor(`the character itself\r\n`)
		term.Type("~i")
		term.WaitFor(`connections lost: 0\r\n`)
		return term
	},
	"resumed": func(t *testing.T, w Setup) *Terminal {
		term, proxy := resumedCapture(t, w)
		term.Type("x=42\r")
		term.WaitFor(`[$#] `)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.WaitFor(sameShell + `\r\n`)
		term.Type("echo $x\r")
		term.WaitFor(`42\r\n`)
		term.WaitFor(`[$#] `)
		return term
	},
	"resumekeys": func(t *testing.T, w Setup) *Terminal {
		term, proxy := resumedCapture(t, w)
		refuse(t, proxy, true)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.WaitFor(`connection refused\r\n`)
		term.WaitFor(resumeWaiting + ` ` + statusEnd)
		return term
	},
	"detached": func(t *testing.T, w Setup) *Terminal {
		term := w.Shell(t, "--resume=always", "--resume-timeout=3m", "-it", "web", "--", "sh")
		term.Type("~")
		term.Type("d")
		term.CheckExit(0)
		term.WaitFor(`attaches to it\r\n`)
		return term
	},
	"command": func(t *testing.T, w Setup) *Terminal {
		proxy, server := w.Through(t)
		// The output of the command on stderr shows that it runs.
		command := []string{"web", "--", "sh", "-c", "echo working >&2; sleep 60"}
		term := w.Open(t, slices.Concat([]string{"exec"}, server, command)...)
		term.WaitFor(`working\r\n`)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.CheckExit(255)
		return term
	},
}

// resumedCapture opens a shell of the session agent in pod web, through a proxy.
func resumedCapture(t *testing.T, w Setup) (*Terminal, *faultproxy.Proxy) {
	t.Helper()
	proxy, server := w.Through(t)
	args := slices.Concat(server, []string{"--resume=always", "--resume-timeout=3m", "-it", "web", "--", "sh"})
	return w.Shell(t, args...), proxy
}

// capture matches a capture in the document: its name and its text.
var capture = regexp.MustCompile("<!-- capture: ([a-z]+) -->\n```\n((?s:.*?))```\n")

// The captures in the documents are what a terminal shows, except for
// numbers and random names.
func TestSessions_Captures(t *testing.T) {
	t.Parallel()
	if agentbin.BuildID() == "" {
		t.Skip(`there are no agents: run "make agent"`)
	}
	shown := map[string]string{}
	var lock sync.Mutex
	w := sandboxSetup(t)
	w.Env = append(w.Env, "KSHELL_RESUME=never") // without the hint for --resume, which needs the session agents
	t.Run("scenes", func(t *testing.T) {
		for name, scene := range scenes {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				screenText := scene(t, w).screenText(t)
				lock.Lock()
				defer lock.Unlock()
				shown[name] = screenText
			})
		}
	})
	found := map[string]bool{}
	for _, document := range documents {
		compareCaptures(t, document, shown, found)
	}
	for name := range scenes {
		if !found[name] && !*update {
			t.Errorf("no document shows %s", name)
		}
	}
}

// compareCaptures compares the captures of a document with what was shown, or
// updates them. It adds their names to found.
func compareCaptures(t *testing.T, document string, shown map[string]string, found map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		now := capture.ReplaceAllFunc(text, func(old []byte) []byte {
			m := capture.FindSubmatch(old)
			name := string(m[1])
			if normalize(string(m[2])) == normalize(shown[name]) { // only numbers and random names differ
				return old
			}
			return fmt.Appendf(nil, "<!-- capture: %s -->\n```\n%s```\n", name, shown[name])
		})
		if err := os.WriteFile(document, now, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, m := range capture.FindAllStringSubmatch(string(text), -1) {
		name, want := m[1], m[2]
		found[name] = true
		if got := shown[name]; scenes[name] == nil || normalize(got) != normalize(want) {
			t.Errorf(
				"%s: the terminal shows\n%s\nbut the document has\n%s\n"+
					"(go test ./test/contract -run TestSessions_Captures -update)",
				name,
				got,
				want,
			)
		}
	}
}

// slowNote matches a note that is shown only if the machine is busy; see progressNote.
var slowNote = regexp.MustCompile(`kshell: (waiting for|uploading) [^)]*press Ctrl-C to cancel\) ?`)

// normalize removes what differs from run to run.
func normalize(screenText string) string {
	for _, what := range []string{
		`\bweb-[a-z0-9]+-[a-z0-9]+`, `\bown-[0-9]+`,
		`\b[0-9a-f]{10}\b`, `round trip ([0-9.]+\n?[0-9.]*[mµu]?s|un\n?known \(no answer\))`, `[0-9]+`,
	} {
		screenText = regexp.MustCompile(what).ReplaceAllString(screenText, "#")
	}
	screenText = strings.Join(strings.Fields(screenText), " ") // the length of names determines where lines wrap
	screenText = slowNote.ReplaceAllString(screenText, "")
	// If a write finds the reset, the next read reports an end instead.
	screenText = strings.ReplaceAll(screenText, "the connection was cut", "connection reset by peer")
	var kept []string
	inWarnings := false
	for _, message := range strings.Split(screenText, "kshell: ") { // merges warnings, whose number depends on timing
		isWarning := strings.HasPrefix(message, "warning: pod ") || strings.HasPrefix(message, "warning: container ")
		if !isWarning || !inWarnings {
			kept = append(kept, message)
		}
		if isWarning {
			kept[len(kept)-1] = "warnings about the pod"
		}
		inWarnings = isWarning
	}
	return strings.Join(kept, "kshell: ")
}

// screenText returns the non-blank lines of the screen as it was at the last
// match of WaitFor. A status line is put in brackets.
func (w *Terminal) screenText(t *testing.T) string {
	t.Helper()
	screen := vt.NewEmulator(80, 24)
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(io.Discard, screen) })
	marked := strings.ReplaceAll(w.textSoFar(), "\x1b[0;7m ", "\x1b[0;7m[") // a status line is shown in reverse video
	_, _ = io.WriteString(screen, strings.ReplaceAll(marked, " \x1b[m", "]\x1b[m"))
	_ = screen.InputPipe().(io.Closer).Close()
	answers.Wait()
	var b strings.Builder
	for line := range strings.Lines(screen.String()) {
		if line = strings.TrimRight(line, " \r\n"); line != "" && !strings.Contains(line, "PS1=") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
