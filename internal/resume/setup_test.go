package resume

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Gateways limit the length of a request line; see docs/exact.md.
func TestStart_Length(t *testing.T) {
	s := &Start{ID: NewID(), Dirs: DefaultDirs, Build: "0123456789abcdef", TTY: true, Command: []string{"bash"}}
	query := url.Values{"command": s.Argv()}.Encode()
	t.Logf("the parameters have %d bytes, the script %d, the part that is sent later %d",
		len(query), len(s.Argv()[2]), len(scripts().upload))
	if len(query) > 2700 {
		t.Errorf("the parameters have %d bytes", len(query))
	}
	s.Command, s.Env = nil, []string{IfKnown + "TERM=xterm-256color", IfKnown + "LANG=en_US.UTF-8", "COLORTERM=truecolor"}
	query = url.Values{"command": s.Argv()}.Encode()
	t.Logf("the parameters for a shell have %d bytes", len(query))
	if len(query) > 3800 {
		t.Errorf("the parameters for a shell have %d bytes", len(query))
	}
	if n := len(url.Values{"command": AttachArgv("/tmp/.kshell-agent-0123456789ab-0123456789", s.ID)}.Encode()); n > 300 {
		t.Errorf("the parameters of the attach command have %d bytes", n)
	}
}

// testStart returns a Start whose agent for amd64 is image, gzipped.
func testStart(t testing.TB, image []byte) *Start {
	t.Helper()
	var gzipped bytes.Buffer
	w, _ := gzip.NewWriterLevel(&gzipped, gzip.NoCompression)
	_, _ = w.Write(image)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &Start{
		ID: "id", Dirs: []string{"/tmp", "/var/tmp/"}, Build: "0123456789abcdef",
		Agent: func(goarch string) []byte {
			if goarch == "amd64" {
				return gzipped.Bytes()
			}
			return nil
		},
	}
}

const (
	allTools  = "tools cat chmod dd gzip head mkdir rm rmdir\n"
	allFacts  = "machine x86_64\n" + allTools + "dir /tmp\n"
	testDir   = "/tmp/.kshell-agent-0123456789ab-a1"
	startLine = "start " + testDir + "\n"
)

// next returns everything that can be sent.
func next(s *Setup, now time.Duration) []byte {
	var sent []byte
	for {
		p := s.Next(nil, now)
		if len(p) == 0 {
			return sent
		}
		if len(p) > nextSize {
			panic("too many bytes")
		}
		sent = append(sent, p...)
	}
}

func TestSetup_Unable(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"banner":  {"Welcome to this shell\n", `it printed "Welcome to this shell"`},
		"no line": {strings.Repeat("x", 5000), `it printed "xxxx`},
		"endless": {strings.Repeat("dir /x\n", 10_000), `it printed "`},
		"ready":   {"ready\n", "no directory can be written (tried: /tmp, /var/tmp)"},
		"no dir":  {"machine x86_64\n" + allTools + "ready\n", "no directory can be written"},
		"machine": {"machine riscv64\n" + allTools + "dir /tmp\nready\n", "architecture of the container (riscv64)"},
		"control": {"machine a\x1b[mb\r\n" + allTools + "dir /tmp\nready\n", "architecture of the container (a[mb)"},
		"elf": {
			"elf\n\x7fELF\x01\x02\x01" + strings.Repeat("\x00", 11) + "\x00\x08\ndir /tmp\nready\n",
			"(ELF machine 8)",
		},
		"short elf": {"elf\n\x7fELF\ndir /tmp\nready\n", "(unknown)"},
		"tools": {
			"machine x86_64\ntools cat gzip rm\ndir /tmp\nready\n",
			"does not have the tools that receive the agent (missing: chmod, mkdir, rmdir)",
		},
		"no dd": {
			"machine x86_64\ntools cat chmod mkdir rm rmdir\ndir /tmp\nready\n", "(missing: dd or head)",
		},
		"memory": {
			allFacts + "memory.max 67108864\nmemory.current 50000000\ninactive_file 2097152\nready\n",
			"only 18 MiB of memory are free in the container; the agent needs 32 MiB",
		},
		"memory v1": {
			"memory/memory.limit_in_bytes 33554432\nmemory/memory.usage_in_bytes 33554433\n" + startLine,
			"only 0 MiB of memory are free",
		},
		"processes": {
			"pids.max 20\npids.current 5\n" + allFacts + "ready\n",
			"the container may start only 15 more processes; the agent needs 16",
		},
		"directory":         {"start /etc/.kshell-agent-0123456789ab-a1\n", "as expected"},
		"directory above":   {"start /tmp/../etc/.kshell-agent-0123456789ab-a1\n", "as expected"},
		"another name":      {"start /tmp/x\n", "as expected"},
		"another build":     {"start /tmp/.kshell-agent-0123456789aa-a1\n", "as expected"},
		"a path in it":      {"start /tmp/.kshell-agent-0123456789ab-a/b\n", "as expected"},
		"go before ready":   {"go\n", "as expected"},
		"got before go":     {allFacts + "ready\ngot\n", "as expected"},
		"ready twice":       {allFacts + strings.Repeat("ready\n", 2), "as expected"},
		"no tool":           {allFacts + "ready\nnone\n", "no dd or head that can receive the agent"},
		"facts after ready": {allFacts + "ready\nmachine x\n", "as expected"},
		"no directories": {
			allFacts + "ready\nno exec /tmp/.k:\nno check /var/tmp/.k:Exec format error\x07\nnone\n",
			"no directory can be used: /tmp: files there cannot be executed; " +
				"/var/tmp: the agent does not run: Exec format error",
		},
		"too many failures": {allFacts + "ready\n" + strings.Repeat("no exec /tmp/.k:\n", 3), "as expected"},
	} {
		t.Run(name, func(t *testing.T) {
			s := testStart(t, []byte("agent")).NewSetup()
			rest, err := s.Receive([]byte(test.script), 0)
			var unable *UnableError
			if !errors.As(err, &unable) || !strings.Contains(unable.Reason, test.want) || s.Done() {
				t.Fatalf("error %v, rest %q; want %s", err, rest, test.want)
			}
			if _, again := s.Receive([]byte(startLine), 0); !errors.Is(again, err) {
				t.Errorf("then the error %v", again)
			}
			if p := next(s, 0); len(p) > 0 {
				t.Errorf("it sends %q", p)
			}
		})
	}
}

func TestSetup_Reuse(t *testing.T) {
	s := testStart(t, nil).NewSetup()
	for i, b := range []byte("machine x86_64\n" + allTools + "memory.max 100000000\nmemory.current 60000000\n" +
		"pids.max 1000\npids.current 3\ndir /tmp\n" + startLine) {
		if s.Done() {
			t.Fatal("done after byte", i)
		}
		if rest, err := s.Receive([]byte{b}, 0); len(rest) > 0 || err != nil {
			t.Fatal(rest, err)
		}
	}
	if !s.Done() || !s.Reused() || s.Dir() != testDir {
		t.Error(s.Done(), s.Reused(), s.Dir())
	}
	if p := next(s, 0); len(p) > 0 {
		t.Errorf("it sends %q", p)
	}
	if rest, err := s.Receive([]byte("frames"), 0); string(rest) != "frames" || err != nil {
		t.Error(rest, err)
	}
}

// receiver is the end of the container, for one upload.
type receiver struct {
	unpack string
	image  []byte
	blocks int
	ended  bool
}

// read reads what Setup has sent for an upload.
func (r *receiver) read(t *testing.T, p []byte) {
	t.Helper()
	if r.unpack == "" {
		line, after, ok := bytes.Cut(p, []byte("\n"))
		if !ok {
			t.Fatalf("no unpack command: %q", p)
		}
		r.unpack, p = string(line), after
	}
	for len(p) > 0 {
		line, after, _ := bytes.Cut(p, []byte("\n"))
		if string(line) == "0" && string(after) == "end\n" {
			r.ended = true
			return
		}
		n, err := strconv.Atoi(string(line))
		if err != nil || n == 0 || n > len(after) {
			t.Fatalf("a block %q with %d bytes", line, len(after))
		}
		r.image, p = append(r.image, after[:n]...), after[n:]
		r.blocks++
	}
}

// With each directory that fails after the upload, the agent is sent again.
func TestSetup_Upload(t *testing.T) {
	image := bytes.Repeat([]byte("0123456789"), 50_000)
	var progress []int64
	start := testStart(t, image)
	start.Progress = func(sent, total int64) { progress = append(progress, sent*100/total) }
	s := start.NewSetup()
	receive := func(script string) []byte {
		t.Helper()
		if rest, err := s.Receive([]byte(script), 0); len(rest) > 0 || err != nil {
			t.Fatal(rest, err)
		}
		return next(s, 0)
	}
	first, ok := bytes.CutPrefix(receive(allFacts+"dir /var/tmp\nready\n"), []byte(scripts().upload+".\n"))
	if !ok {
		t.Fatal("the script was not sent")
	}
	for i, dir := range []string{"/tmp", "/var/tmp"} {
		var r receiver
		if p := receive("go\n"); len(p) > 0 {
			t.Fatalf("%d more bytes are sent before the first block was received", len(p))
		}
		r.read(t, first)
		for acked := 0; acked < r.blocks; acked++ {
			if ahead := r.blocks - acked; ahead > uploadWindow/blockSize {
				t.Fatalf("%d blocks were not acknowledged", ahead)
			}
			r.read(t, receive("got\n"))
		}
		z, err := gzip.NewReader(bytes.NewReader(r.image))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); !bytes.Equal(got, image) || err != nil || !r.ended || r.unpack != "gzip -dc" {
			t.Fatalf("%d bytes, %v, ended %v, %s", len(got), err, r.ended, r.unpack)
		}
		if i == 0 {
			first = receive("no check " + dir + "/.k:\n")
		}
	}
	if p := receive("start /var/tmp/.kshell-agent-0123456789ab-a1\n"); len(p) > 0 || !s.Done() || s.Reused() {
		t.Error(p, s.Done(), s.Reused())
	}
	if len(progress) != 16 || progress[0] != 13 || progress[7] != 100 || progress[8] != 13 {
		t.Errorf("progress: %d", progress)
	}
}

func TestSetup_Unpack(t *testing.T) {
	for tools, want := range map[string]string{
		"gzip": "gzip -dc", "gunzip busybox": "gunzip -c", "busybox": "busybox gunzip -c", "": "cat",
	} {
		s := testStart(t, []byte("agent")).NewSetup()
		script := "machine amd64\ntools cat chmod head mkdir rm rmdir " + tools + "\ndir /tmp\nready\n"
		if _, err := s.Receive([]byte(script), 0); err != nil {
			t.Fatal(err)
		}
		var r receiver
		r.read(t, bytes.TrimPrefix(next(s, 0), []byte(scripts().upload+".\n")))
		if r.unpack != want || want == "cat" && string(r.image) != "agent" {
			t.Errorf("%s: %q, image %q", tools, r.unpack, r.image)
		}
	}
}

// The first blocks show how long the upload takes.
func TestSetup_UploadLimit(t *testing.T) {
	const total = 20 * blockSize
	for name, test := range map[string]struct {
		limit time.Duration
		acks  []time.Duration // when the blocks are received, after "go"
		ticks time.Duration   // then the time passes until here
		want  string          // the time in the error, or empty
	}{
		"fast":                        {5 * time.Second, []time.Duration{1e6, 2e6, 3e6}, 0, ""},
		"fast, then slow":             {5 * time.Second, []time.Duration{1e6, 2e6, 3e6, 600e6, 9e9}, 10 * time.Second, ""},
		"slow":                        {5 * time.Second, []time.Duration{1e9}, 0, "19s"},
		"slow without a limit":        {0, []time.Duration{1e9, 2e9}, 30 * time.Second, ""},
		"slow, with a large limit":    {time.Minute, []time.Duration{1e9, 2e9}, 30 * time.Second, ""},
		"slower than a large limit":   {time.Minute, nil, 4 * time.Second, "1m"},
		"the first block is too late": {5 * time.Second, nil, time.Second, "1"},
		"the second block":            {5 * time.Second, []time.Duration{400e6, 800e6}, 0, "7s"},
	} {
		t.Run(name, func(t *testing.T) {
			start := testStart(t, bytes.Repeat([]byte("x"), total))
			start.UploadLimit = test.limit
			s := start.NewSetup()
			const begin = 3 * time.Second
			_, err := s.Receive([]byte(allFacts+"ready\n"), begin)
			next(s, begin)
			if err == nil {
				_, err = s.Receive([]byte("go\n"), begin)
			}
			for _, at := range test.acks {
				if err == nil {
					_, err = s.Receive([]byte("got\n"), begin+at)
					next(s, begin+at)
				}
			}
			for at := time.Duration(0); at <= test.ticks && err == nil; at += 100 * time.Millisecond {
				_, err = s.Receive(nil, begin+at)
			}
			var unable *UnableError
			if test.want == "" && err != nil || test.want != "" &&
				(!errors.As(err, &unable) || !strings.Contains(unable.Reason, "upload of the agent would take "+test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestSetup_Silence(t *testing.T) {
	s := testStart(t, []byte("agent")).NewSetup()
	next(s, time.Hour)
	if _, err := s.Receive(nil, time.Hour+silenceLimit-1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive([]byte("mach"), time.Hour+silenceLimit-1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(nil, time.Hour+silenceLimit); err != nil {
		t.Fatal(err)
	}
	var unable *UnableError
	if _, err := s.Receive(nil, time.Hour+2*silenceLimit); !errors.As(err, &unable) ||
		!strings.Contains(unable.Reason, "did not answer for 1m0s") {
		t.Error(err)
	}
}

func FuzzSetup(f *testing.F) {
	for _, seed := range []string{
		allFacts + startLine + "frames", allFacts + "ready\ngo\ngot\n" + startLine, "elf\n\x7fELF\n",
		"no exec /tmp:x\nnone\n",
		allFacts + "ready\nno make /tmp/x:text\ngo\ngot\nno check /x:\nnone\n", "memory.max 1\nmemory.current 2\nready\n",
	} {
		f.Add([]byte(seed), byte(3))
	}
	f.Fuzz(func(t *testing.T, script []byte, size byte) {
		start := testStart(t, bytes.Repeat([]byte("x"), 3*blockSize))
		start.UploadLimit = time.Second
		start.Progress = func(sent, total int64) {
			if sent > total || sent <= 0 {
				t.Fatalf("progress %d of %d", sent, total)
			}
		}
		s := start.NewSetup()
		var now time.Duration
		sent, acks := 0, bytes.Count(script, []byte("got"))
		goes := bytes.Count(script, []byte("no "))
		for len(script) > 0 {
			n := min(int(size)+1, len(script))
			now += time.Millisecond
			rest, err := s.Receive(script[:n], now)
			script = script[n:]
			var unable *UnableError
			if err != nil && !errors.As(err, &unable) {
				t.Fatal(err)
			}
			if len(rest) > n || len(rest) > 0 && !s.Done() && err == nil || len(s.line) > maxReport+1 {
				t.Fatalf("rest %q, line of %d bytes", rest, len(s.line))
			}
			sent += len(next(s, now))
		}
		if sent > (goes+1)*4*blockSize+len(scripts().upload) || acks == 0 && sent > (goes+1)*2*blockSize {
			t.Fatalf("%d bytes were sent", sent)
		}
	})
}
