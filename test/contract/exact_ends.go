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

// Ends are the ends that lie, and those that are only slow: what exec loses, invents, or waits for without end.
func Ends() []End {
	var all []End
	for _, more := range [][]End{slowEnds(), busyEnds(), unreadEnds(), uploadEnds(), brokenEnds()} {
		all = append(all, more...)
	}
	return all
}

// Lines that make 300 kB, 4 MB and 40 MB.
const (
	someLines = 52_000
	manyLines = 590_000
	mostLines = 5_200_000
)

// counted is an end of a command that prints n lines and exits 5.
func counted(name string, n int, want []byte) End {
	return End{Name: name, Command: []string{"sh", "-c", fmt.Sprintf("seq 1 %d; exit 5", n)}, Want: want, Code: 5}
}

// slowEnds are those of slow links and of readers that pause.
func slowEnds() []End {
	most := lines(mostLines)
	many := most[:len(lines(manyLines))]
	some := most[:len(lines(someLines))]
	var all []End
	add := func(e End, set func(*End)) {
		set(&e)
		all = append(all, e)
	}
	for _, rate := range []int{250_000, 64_000, 20_000} {
		add(counted(fmt.Sprintf("300 kB over %d kB/s", rate/1000), someLines, some), func(e *End) { e.Rate = rate })
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
			add(counted(fmt.Sprintf("%s to a reader that pauses %v", size.name, pause), size.lines, size.want), func(e *End) { e.Pause = pause })
		}
	}
	add(counted("4 MB to a program stopped for 90 s", manyLines, many), func(e *End) { e.Frozen = 90 * time.Second })
	add(End{
		Name: "4 MB, and life, to a program stopped for 90 s", Command: []string{"sh", "-c", fmt.Sprintf("seq 1 %d; sleep 95; echo end; exit 5", manyLines)},
		Want: append(bytes.Clone(many), "end\n"...), Code: 5, Remote: 5 * time.Second,
	}, func(e *End) { e.Frozen = 90 * time.Second })
	return all
}

// busyEnds are those of commands that end while their input still comes, or that leave something behind.
func busyEnds() []End {
	return []End{
		{
			Name: "exit 7 while small frames of stdin come", Command: []string{"sh", "-c", "head -c 300 >/dev/null; exit 7"}, Code: 7,
			Input: func(rnd *rand.Rand) io.Reader { return &drip{rnd: rnd, size: 100, every: 2 * time.Millisecond} },
		},
		{
			Name: "output and exit 7 while small frames of stdin come", Command: []string{"sh", "-c", "head -c 300 >/dev/null; seq 1 20000; exit 7"}, Want: lines(20_000), Code: 7,
			Input: func(rnd *rand.Rand) io.Reader { return &drip{rnd: rnd, size: 100, every: 2 * time.Millisecond} },
		},
		{
			Name: "output and exit 7 while large frames of stdin come", Command: []string{"sh", "-c", "head -c 300000 >/dev/null; seq 1 20000; exit 7"}, Want: lines(20_000), Code: 7,
			Input: func(rnd *rand.Rand) io.Reader { return &drip{rnd: rnd, size: 32 << 10, every: time.Millisecond} },
		},
		{Name: "a child that keeps stdout open", Command: []string{"sh", "-c", "sleep 25 & echo hi; exit 3"}, Want: []byte("hi\n"), Code: 3, Orphans: true},
		{Name: "a command that prints every command line and its environment", Command: []string{"sh", "-c", "{ cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; set; env; } >/dev/null; cat /proc/$PPID/cmdline /proc/$PPID/environ >&2; echo end; exit 4"}, Want: []byte("end\n"), Code: 4},
		{Name: "stdout that nobody reads any more", Command: []string{"yes"}, Stdout: Closed},
		{Name: "stdout on a full disk", Command: []string{"yes"}, Stdout: Full},
	}
}

// unreadEnds are those of commands that do not read all of their input.
func unreadEnds() []End {
	endless := func(*rand.Rand) io.Reader { return &yes{} }
	large := func(*rand.Rand) io.Reader { return io.LimitReader(&yes{}, 200_000_000) }
	var all []End
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
		e := End{Command: c.command, Want: []byte(c.want), Code: c.code, Remote: c.remote}
		e.Name, e.Input = "200 MB into "+c.name, large
		all = append(all, e)
		e.Name, e.Input = "endless input into "+c.name, endless
		all = append(all, e)
	}
	all = append(all, End{Name: "/dev/zero into true", Command: []string{"true"}, Input: func(*rand.Rand) io.Reader {
		f, err := os.Open("/dev/zero")
		if err != nil {
			panic(err)
		}
		return f
	}})
	for _, d := range []time.Duration{5 * time.Second, 90 * time.Second} {
		all = append(all, End{
			Name: fmt.Sprintf("20 MB into a command that begins to read after %v", d), Command: []string{"sh", "-c", fmt.Sprintf("sleep %.0f; wc -c; exit 6", d.Seconds())},
			Input: func(*rand.Rand) io.Reader { return io.LimitReader(&yes{}, 20_000_000) }, Want: []byte("20000000\n"), Code: 6, Remote: d,
		})
	}
	return all
}

// upload is how much is uploaded, in bytes.
const upload = 2_000_000

func uploaded(*rand.Rand) io.Reader { return io.LimitReader(&yes{}, upload) }

// Scripts that commit an upload, and look at it.
const (
	commits = "cat >exact.part && mv exact.part exact.file"
	looks   = "[ ! -e exact.file ] || sha256sum <exact.file; rm -f exact.part exact.file"
)

// whole is what looks prints of a whole upload.
func whole() string {
	h := sha256.New()
	_, _ = io.Copy(h, uploaded(nil)) // neither can fail
	return fmt.Sprintf("%x  -\n", h.Sum(nil))
}

// uploadEnds are those of uploads, whole ones and such as are cut.
func uploadEnds() []End {
	rst, fin := faultproxy.RST, faultproxy.FIN
	e := End{Command: []string{"sh", "-c", commits}, Input: uploaded, Then: looks, ThenOut: whole()}
	var all []End
	add := func(name string, b *Break) {
		e.Name, e.Break = name, b
		all = append(all, e)
	}
	add("an upload", nil)
	add("an upload that is cut by RST", &Break{Link: &rst, Input: upload})
	add("an upload that is cut by FIN", &Break{Link: &fin, Input: upload})
	add("an upload of a program that is killed", &Break{Signal: syscall.SIGKILL, Input: upload})
	add("an upload of a program that is interrupted", &Break{Signal: interrupt(), Input: upload})
	e.Command = []string{"sh", "-c", "cat >exact.file"} // the shell becomes a cat that has given up its stdout
	add("an upload into a command without stdout", nil)
	return all
}

// brokenEnds are those of links and programs that go away: nothing may be left, nothing may be called a success.
func brokenEnds() []End {
	rst, fin := faultproxy.RST, faultproxy.FIN
	var all []End
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
			all = append(all, End{Name: c.name + ", and " + b.name, Command: []string{"sh", "-c", c.script}, Break: &b.how, Slow: c.slow})
		}
	}
	return all
}

// yes is the endless output of the command of that name, in large pieces.
type yes struct{ next int }

// Read implements io.Reader.
func (y *yes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "y\n"[y.next]
		y.next ^= 1
	}
	return len(p), nil
}

// drip is an endless input of pieces of random size, with pauses.
type drip struct {
	rnd   *rand.Rand
	size  int
	every time.Duration
}

// Read implements io.Reader.
func (d *drip) Read(p []byte) (int, error) {
	time.Sleep(time.Duration(d.rnd.Int64N(int64(2 * d.every))))
	n := min(len(p), 1+d.rnd.IntN(d.size))
	for i := range p[:n] {
		p[i] = byte(d.rnd.Uint32())
	}
	return n, nil
}
