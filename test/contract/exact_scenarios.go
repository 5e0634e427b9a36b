package contract

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"kshell/test/faultproxy"
)

// Scenarios returns scenarios in which exec implementations lose output, invent
// results or hang, and some that are only slow.
func Scenarios() []Scenario {
	var all []Scenario
	for _, more := range [][]Scenario{
		slowScenarios(), busyScenarios(), unreadScenarios(), uploadScenarios(), brokenScenarios(),
	} {
		all = append(all, more...)
	}
	return all
}

// Numbers of lines that make 300 kB, 4 MB and 40 MB.
const (
	someLines = 52_000
	manyLines = 590_000
	mostLines = 5_200_000
)

// counted returns a scenario with a command that prints n lines and exits with
// 5.
func counted(name string, n int, want []byte) Scenario {
	return Scenario{Name: name, Command: []string{"sh", "-c", fmt.Sprintf("seq 1 %d; exit 5", n)}, Want: want, Code: 5}
}

// slowScenarios have slow links and readers that pause.
func slowScenarios() []Scenario {
	most := lines(mostLines)
	many := most[:len(lines(manyLines))]
	some := most[:len(lines(someLines))]
	var all []Scenario
	add := func(e Scenario, set func(*Scenario)) {
		set(&e)
		all = append(all, e)
	}
	for _, rate := range []int{250_000, 64_000, 20_000} {
		add(counted(fmt.Sprintf("300 kB over %d kB/s", rate/1000), someLines, some), func(e *Scenario) { e.Rate = rate })
	}
	for _, pause := range []time.Duration{7 * time.Second, 20 * time.Second, 90 * time.Second} {
		for _, size := range []struct {
			name  string
			lines int
			want  []byte
		}{{"300 kB", someLines, some}, {"4 MB", manyLines, many}, {"40 MB", mostLines, most}} {
			if size.lines == mostLines && pause != 20*time.Second {
				continue
			}
			add(
				counted(fmt.Sprintf("%s to a reader that pauses %v", size.name, pause), size.lines, size.want),
				func(e *Scenario) { e.Pause = pause },
			)
		}
	}
	add(counted("4 MB to a program stopped for 90 s", manyLines, many), func(e *Scenario) { e.Frozen = 90 * time.Second })
	add(Scenario{
		Name:    "4 MB, and life, to a program stopped for 90 s",
		Command: []string{"sh", "-c", fmt.Sprintf("seq 1 %d; sleep 95; echo end; exit 5", manyLines)},
		Want:    append(bytes.Clone(many), "end\n"...), Code: 5, Remote: 5 * time.Second,
	}, func(e *Scenario) { e.Frozen = 90 * time.Second })
	return all
}

// busyScenarios have commands that exit while input arrives, or leave
// processes.
func busyScenarios() []Scenario {
	return []Scenario{
		{
			Name:    "exit 7 while small frames of stdin come",
			Command: []string{"sh", "-c", "head -c 300 >/dev/null; exit 7"}, Code: 7,
			Input: func(rnd *rand.Rand) io.Reader { return &slowReader{rnd: rnd, size: 100, every: 2 * time.Millisecond} },
		},
		{
			Name:    "output and exit 7 while small frames of stdin come",
			Command: []string{"sh", "-c", "head -c 300 >/dev/null; seq 1 20000; exit 7"},
			Want:    lines(20_000), Code: 7,
			Input: func(rnd *rand.Rand) io.Reader { return &slowReader{rnd: rnd, size: 100, every: 2 * time.Millisecond} },
		},
		{
			Name:    "output and exit 7 while large frames of stdin come",
			Command: []string{"sh", "-c", "head -c 300000 >/dev/null; seq 1 20000; exit 7"},
			Want:    lines(20_000), Code: 7,
			Input: func(rnd *rand.Rand) io.Reader { return &slowReader{rnd: rnd, size: 32 << 10, every: time.Millisecond} },
		},
		{
			Name:    "a child that keeps stdout open",
			Command: []string{"sh", "-c", "sleep 25 & echo hi; exit 3"},
			Want:    []byte("hi\n"),
			Code:    3,
			Orphans: true,
		},
		{
			Name: "a command that prints every command line and its environment",
			Command: []string{
				"sh",
				"-c",
				"{ cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; set; env; } >/dev/null; " +
					"cat /proc/$PPID/cmdline /proc/$PPID/environ >&2; echo end; exit 4",
			},
			Want: []byte("end\n"),
			Code: 4,
		},
		{Name: "stdout that nobody reads any more", Command: []string{"yes"}, Stdout: Closed},
		{Name: "stdout on a full disk", Command: []string{"yes"}, Stdout: Full},
	}
}

// unreadScenarios have commands that do not read all of their input.
func unreadScenarios() []Scenario {
	endless := func(*rand.Rand) io.Reader { return &yesReader{} }
	large := func(*rand.Rand) io.Reader { return io.LimitReader(&yesReader{}, 200_000_000) }
	var all []Scenario
	for _, c := range []struct {
		name    string
		command []string
		want    string
		code    int
		remote  time.Duration
	}{
		{"true", []string{"true"}, "", 0, 0},
		{"exit 3", []string{"sh", "-c", "exit 3"}, "", 3, 0},
		{"head -1", []string{"head", "-1"}, "y\n", 0, 0},
		{"sleep 3", []string{"sleep", "3"}, "", 0, 3 * time.Second},
	} {
		e := Scenario{Command: c.command, Want: []byte(c.want), Code: c.code, Remote: c.remote}
		e.Name, e.Input = "200 MB into "+c.name, large
		all = append(all, e)
		e.Name, e.Input = "endless input into "+c.name, endless
		all = append(all, e)
	}
	all = append(all, Scenario{Name: "/dev/zero into true", Command: []string{"true"}, Input: func(*rand.Rand) io.Reader {
		f, err := os.Open("/dev/zero")
		if err != nil {
			panic(err)
		}
		return f
	}})
	for _, d := range []time.Duration{5 * time.Second, 90 * time.Second} {
		all = append(all, Scenario{
			Name: fmt.Sprintf(
				"20 MB into a command that begins to read after %v",
				d,
			), Command: []string{"sh", "-c", fmt.Sprintf("sleep %.0f; wc -c; exit 6", d.Seconds())},
			Input: func(*rand.Rand) io.Reader { return io.LimitReader(&yesReader{}, 20_000_000) },
			Want:  []byte("20000000\n"), Code: 6, Remote: d,
		})
	}
	return all
}

// upload is the size of an upload, in bytes.
const upload = 2_000_000

func uploaded(*rand.Rand) io.Reader { return io.LimitReader(&yesReader{}, upload) }

// Scripts that commit an upload, and that print its checksum and remove it.
const (
	commitUpload  = "cat >exact.part && mv exact.part exact.file"
	inspectUpload = "[ ! -e exact.file ] || sha256sum <exact.file; rm -f exact.part exact.file"
)

// completeUpload returns the output of inspectUpload after a complete upload.
func completeUpload() string {
	h := sha256.New()
	_, _ = io.Copy(h, uploaded(nil)) // cannot fail
	return fmt.Sprintf("%x  -\n", h.Sum(nil))
}

// uploadScenarios upload data. Some of them cut the upload.
func uploadScenarios() []Scenario {
	rst, fin := faultproxy.RST, faultproxy.FIN
	e := Scenario{
		Command: []string{"sh", "-c", commitUpload},
		Input:   uploaded,
		Then:    inspectUpload,
		ThenOut: completeUpload(),
	}
	var all []Scenario
	add := func(name string, b *Break) {
		e.Name, e.Break = name, b
		all = append(all, e)
	}
	add("an upload", nil)
	add("an upload that is cut by RST", &Break{Link: &rst, Input: upload})
	add("an upload that is cut by FIN", &Break{Link: &fin, Input: upload})
	add("an upload of a program that is killed", &Break{Signal: syscall.SIGKILL, Input: upload})
	add("an upload of a program that is interrupted", &Break{Signal: interrupt(), Input: upload})
	e.Command = []string{"sh", "-c", "cat >exact.file"} // cat replaces the shell, so no process holds stdout
	add("an upload into a command without stdout", nil)
	return all
}

// brokenScenarios have links that break and programs that are killed. No
// process may remain, and kshell must not report success.
func brokenScenarios() []Scenario {
	rst, fin := faultproxy.RST, faultproxy.FIN
	var all []Scenario
	for _, c := range []struct {
		name, script string
		slow         bool
	}{
		{"a command that sleeps", "echo started; sleep 600", false},
		{"a command that prints", "echo started; yes", false},
		{"a command that traps signals", "trap '' INT TERM HUP; echo started; while :; do sleep 1; done", true},
	} {
		for _, b := range []struct {
			name string
			how  Break
		}{
			{"RST", Break{Link: &rst}},
			{"FIN", Break{Link: &fin}},
			{"SIGKILL", Break{Signal: syscall.SIGKILL}},
			{"SIGINT", Break{Signal: interrupt()}},
		} {
			all = append(
				all,
				Scenario{Name: c.name + ", and " + b.name, Command: []string{"sh", "-c", c.script}, Break: &b.how, Slow: c.slow},
			)
		}
	}
	return all
}

// yesReader is the endless output of the command yes, in large pieces.
type yesReader struct{ next int }

// Read implements io.Reader.
func (y *yesReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "y\n"[y.next]
		y.next ^= 1
	}
	return len(p), nil
}

// slowReader is an endless input in pieces of random size, with pauses.
type slowReader struct {
	rnd   *rand.Rand
	size  int
	every time.Duration
}

// Read implements io.Reader.
func (d *slowReader) Read(p []byte) (int, error) {
	time.Sleep(time.Duration(d.rnd.Int64N(int64(2 * d.every))))
	n := min(len(p), 1+d.rnd.IntN(d.size))
	for i := range p[:n] {
		p[i] = byte(d.rnd.Uint32())
	}
	return n, nil
}
