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

	"kshell/test/faultproxy"
)

var update = flag.Bool("update", false, "write what the terminal shows into docs/sessions.md")

// document holds the captures, each behind a line that names it.
const document = "../../docs/sessions.md"

// drawn is behind a line of status.
const drawn = `\x1b\[m`

// scenes are what a user sees in each fault, by the names that they have in the document.
var scenes = map[string]func(*testing.T, World) *Terminal{
	"silence": func(t *testing.T, w World) *Terminal {
		term, proxy := w.shell(t)
		hole(proxy, true)
		term.Await(`no reply for [0-9]+ s ` + drawn)
		return term
	},
	"reset": func(t *testing.T, w World) *Terminal {
		term, proxy := w.shell(t)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.Await(taken)
		term.Await(`[$#] `)
		return term
	},
	"outage": func(t *testing.T, w World) *Terminal {
		term, proxy := w.shell(t)
		refuse(t, proxy, true)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.Await(`connection refused\r\n`)
		term.Await(again + ` ` + drawn)
		return term
	},
	"deleted": func(t *testing.T, w World) *Terminal {
		term := w.Shell(t, "-it", "deploy/web", "--", "sh")
		pod := regexp.MustCompile(`web-[a-z0-9]+-[a-z0-9]+`).FindString(term.Text())
		w.Delete(t, pod)
		term.Await(taken)
		term.Await(`[$#] `)
		return term
	},
	"gone": func(t *testing.T, w World) *Terminal {
		pod := w.Pod(t)
		term := w.Shell(t, "-it", pod, "--", "sh")
		w.Delete(t, pod)
		term.MustEnd(137)
		return term
	},
	"keys": func(t *testing.T, w World) *Terminal {
		term, _ := w.shell(t)
		term.Type("~?")
		term.Await(`the character itself\r\n`)
		term.Type("~i")
		term.Await(`connections lost: 0\r\n`)
		return term
	},
	"command": func(t *testing.T, w World) *Terminal {
		proxy, server := w.Through(t)
		term := w.Open(t, slices.Concat([]string{"exec"}, server, []string{"web", "--", "sh", "-c", "echo working >&2; sleep 60"})...) // on the stream that has said before that the command runs
		term.Await(`working\r\n`)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.MustEnd(255)
		return term
	},
}

// capture is a place in the document: its name, and what stands there.
var capture = regexp.MustCompile("<!-- capture: ([a-z]+) -->\n```\n((?s:.*?))```\n")

// TestTheDocumentShowsWhatAUserSees compares what terminals show with the document, but for numbers and the names that are drawn by lot.
func TestTheDocumentShowsWhatAUserSees(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	var lock sync.Mutex
	w := sandboxWorld(t)
	t.Run("scenes", func(t *testing.T) {
		for name, scene := range scenes {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				picture := scene(t, w).picture(t)
				lock.Lock()
				defer lock.Unlock()
				shown[name] = picture
			})
		}
	})
	if *update {
		now := capture.ReplaceAllFunc(text, func(old []byte) []byte {
			name := string(capture.FindSubmatch(old)[1])
			return fmt.Appendf(nil, "<!-- capture: %s -->\n```\n%s```\n", name, shown[name])
		})
		if err := os.WriteFile(document, now, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	found := map[string]bool{}
	for _, m := range capture.FindAllStringSubmatch(string(text), -1) {
		name, want := m[1], m[2]
		found[name] = true
		if got := shown[name]; scenes[name] == nil || blurred(got) != blurred(want) {
			t.Errorf("%s: the terminal shows\n%s\nand the document\n%s\n(go test ./test/contract -run TestTheDocument -update)", name, got, want)
		}
	}
	for name := range scenes {
		if !found[name] {
			t.Errorf("the document does not show %s", name)
		}
	}
}

// blurred leaves out what is never the same.
func blurred(picture string) string {
	for _, what := range []string{`\bweb-[a-z0-9]+-[a-z0-9]+`, `\bown-[0-9]+`, `round trip ([0-9.]+\n?[0-9.]*[mµ]?s|un\n?known \(no answer\))`, `[0-9]+`} {
		picture = regexp.MustCompile(what).ReplaceAllString(picture, "#")
	}
	picture = strings.Join(strings.Fields(picture), " ") // lines break where names are long
	var kept []string
	ofThePod := false
	for _, said := range strings.Split(picture, "kshell: ") { // how much is seen of an end depends on how soon one looks
		again := strings.HasPrefix(said, "warning: pod ") || strings.HasPrefix(said, "warning: container ")
		if !again || !ofThePod {
			kept = append(kept, said)
		}
		if again {
			kept[len(kept)-1] = "what becomes of the pod"
		}
		ofThePod = again
	}
	return strings.Join(kept, "kshell: ")
}

// picture is what the terminal shows, as far as it was awaited, without what is blank, and the line of status in brackets.
func (w *Terminal) picture(t *testing.T) string {
	t.Helper()
	screen := vt.NewEmulator(80, 24)
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(io.Discard, screen) })
	marked := strings.ReplaceAll(w.awaited(), "\x1b[0;7m ", "\x1b[0;7m[") // the status is shown in reverse, which text cannot
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
