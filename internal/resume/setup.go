package resume

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	// minMemory is the memory that must be free in the container, in bytes.
	// minProcesses is how many more processes the container must allow.
	minMemory    = 32 << 20
	minProcesses = 16

	// maxDialogue is the maximum output of the script, and maxReport the maximum
	// length of a line of it, in bytes.
	maxDialogue = 64 << 10
	maxReport   = 4 << 10

	// maxTool is the maximum length of a tool's message in an error, in bytes.
	maxTool = 200

	// blockSize is the size of the blocks in which the agent is uploaded, and
	// uploadWindow the maximum size of all blocks that are not acknowledged, in
	// bytes.
	blockSize    = 64 << 10
	uploadWindow = 4 * blockSize

	// nextSize is the number of bytes that Setup.Next returns at most.
	nextSize = 32 << 10

	// silenceLimit is how long the script may be silent.
	silenceLimit = time.Minute

	// measureTime is the minimum time after which the duration of the upload is
	// estimated. In less time, the estimate would depend on how fast the
	// container starts a process.
	measureTime = 500 * time.Millisecond
)

// Setup is the dialogue with the script of Start.Argv, until the agent runs.
// It is a state machine: the caller passes it bytes and the time, and sends the
// bytes that it returns. The time is the time since any fixed time.
//
// The remote end is not trusted. The length of the dialogue, the length of a line
// and the time without an answer have limits. So that Setup can check the time, the
// caller must call Receive without bytes from time to time.
type Setup struct {
	start *Start
	err   error // the result of Receive, if it has failed

	received int           // bytes of the dialogue
	line     []byte        // the beginning of an incomplete line
	begun    bool          // Receive or Next was called
	heard    time.Duration // when bytes were received for the last time

	facts    facts
	prepared bool // the script was sent that receives the agent
	out      []byte
	upload   upload
	failures []string // why directories cannot be used

	dir    string
	reused bool
}

// NewSetup returns the dialogue for one relay.
func (s *Start) NewSetup() *Setup { return &Setup{start: s, facts: facts{values: map[string]int64{}}} }

// Done reports whether the dialogue has ended, so that the agent's frames follow.
func (s *Setup) Done() bool { return s.dir != "" }

// Dir returns the directory of the agent, or "" before it is known.
func (s *Setup) Dir() string { return s.dir }

// Reused reports whether the container had the agent already, so that it was not
// uploaded.
func (s *Setup) Reused() bool { return s.reused }

// Receive processes bytes from the relay. rest are the bytes after the
// dialogue: frames of the agent. An error ends the relay; it is an *UnableError
// if the container cannot run the agent.
func (s *Setup) Receive(p []byte, now time.Duration) (rest []byte, err error) {
	if s.err != nil || s.Done() {
		return p, s.err
	}
	if len(p) > 0 || !s.begun {
		s.begun, s.heard = true, now
	}
	for len(p) > 0 && s.err == nil && !s.Done() {
		line, after, complete := bytes.Cut(p, []byte("\n"))
		s.received += len(line) + 1
		s.line = append(s.line, line[:min(len(line), maxReport+1)]...)
		if len(s.line) > maxReport || s.received > maxDialogue {
			s.err = unexpected(s.line)
			return nil, s.err
		}
		p = after
		if complete {
			s.err = s.report(string(s.line), now)
			s.line = s.line[:0]
		}
	}
	if s.err == nil && !s.Done() {
		s.err = s.late(now)
	}
	return p, s.err
}

// late returns an error if the script is silent for too long, or the upload
// takes too long.
func (s *Setup) late(now time.Duration) error {
	if now-s.heard >= silenceLimit {
		return &UnableError{Reason: fmt.Sprintf("the start script did not answer for %s", silenceLimit)}
	}
	return s.upload.measure(s.start.UploadLimit, now)
}

// Next appends the bytes to send now to buf, and returns the result. It appends
// at most some 32 KiB: the caller calls it again until it appends nothing.
func (s *Setup) Next(buf []byte, now time.Duration) []byte {
	if !s.begun {
		s.begun, s.heard = true, now
	}
	if s.err != nil || s.Done() {
		return buf
	}
	if len(s.out) == 0 {
		s.out = s.upload.next(s.out)
	}
	n := min(len(s.out), nextSize)
	buf = append(buf, s.out[:n]...)
	s.out = s.out[n:]
	return buf
}

// unable returns an *UnableError.
func unable(format string, args ...any) error {
	return &UnableError{Reason: fmt.Sprintf(format, args...)}
}

// unexpected is the error for a line that is not one of the script's reports.
func unexpected(line []byte) error {
	return unable("the start script did not run as expected: it printed %q", line[:min(len(line), maxTool)])
}

// report processes a line of the script; see start.sh and upload.sh.
func (s *Setup) report(line string, now time.Duration) error {
	if s.facts.header {
		s.facts.header, s.facts.elf = false, []byte(line)
		return nil
	}
	word, value, _ := strings.Cut(line, " ")
	switch word {
	case "start":
		return s.started(value)
	case "ready":
		if s.prepared {
			break
		}
		return s.prepare()
	case "go", "got", "no", "none":
		if s.prepared {
			return s.uploaded(word, value, now)
		}
	default:
		if !s.prepared && s.facts.add(word, value) {
			return nil
		}
	}
	return unexpected([]byte(line))
}

// started ends the dialogue: the agent runs in dir.
func (s *Setup) started(dir string) error {
	parent, name := path.Split(dir)
	random, ok := strings.CutPrefix(name, s.start.namePrefix())
	if !ok || !isWord(random) || !slices.Contains(s.start.usableDirs(), path.Clean(parent)) {
		return unexpected([]byte("start " + dir))
	}
	if err := s.facts.headroom(); err != nil {
		return err
	}
	s.dir, s.reused = dir, !s.prepared
	return nil
}

// isWord reports whether text is 1 to 64 lower-case letters and digits.
func isWord(text string) bool {
	return text != "" && len(text) <= 64 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// prepare decides whether the agent can be uploaded, and begins the upload.
func (s *Setup) prepare() error {
	f := &s.facts
	if err := f.headroom(); err != nil {
		return err
	}
	dirs := strings.Join(s.start.usableDirs(), ", ")
	if len(f.dirs) == 0 {
		return unable("no directory can be written (tried: %s)", dirs)
	}
	goarch := f.goarch()
	image := s.start.Agent(goarch)
	if image == nil {
		return unable("there is no agent for the architecture of the container (%s)", clean(goarch))
	}
	tools := f.missing("cat", "chmod", "mkdir", "rm", "rmdir")
	if len(tools) == 0 && !f.tools["dd"] && !f.tools["head"] {
		tools = []string{"dd or head"}
	}
	if len(tools) > 0 {
		return unable("the container does not have the tools that receive the agent (missing: %s)",
			strings.Join(tools, ", "))
	}
	command, raw := f.unpack()
	if raw {
		var err error
		if image, err = gunzip(image); err != nil {
			return err
		}
	}
	s.upload = upload{image: image, unpack: command, progress: s.start.Progress}
	s.upload.begin()
	s.prepared = true
	s.out = append(s.out, scripts().upload+".\n"...)
	return nil
}

func gunzip(image []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("the embedded agent: %w", err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("the embedded agent: %w", err)
	}
	return raw, nil
}

// uploaded processes a report of the script that receives the agent.
func (s *Setup) uploaded(word, value string, now time.Duration) error {
	switch word {
	case "go":
		s.upload.expected(now)
		return nil
	case "got":
		if !s.upload.received() {
			return unexpected([]byte(word))
		}
		return nil
	case "no":
		s.failures = append(s.failures, failure(value))
		if len(s.failures) > len(s.start.usableDirs()) {
			return unexpected([]byte(word))
		}
		if s.upload.asked {
			s.upload.begin() // for the next directory
		}
		return nil
	}
	if len(s.failures) == 0 {
		return unable("the container has no dd or head that can receive the agent")
	}
	return unable("no directory can be used: %s", strings.Join(s.failures, "; "))
}

// failure returns why a directory cannot be used, from the value of the report
// "no".
func failure(value string) string {
	step, rest, _ := strings.Cut(value, " ")
	dir, text, _ := strings.Cut(rest, ":")
	dir, text = clean(path.Dir(dir)), clean(text)
	switch step {
	case "make":
		step = "no directory can be created"
	case "exec":
		step = "files there cannot be executed"
	case "write":
		step = "the agent cannot be written"
	case "check":
		step = "the agent does not run"
	default:
		step = clean(step)
	}
	if text != "" {
		step += ": " + text
	}
	return dir + ": " + step
}

// clean returns text from the container without control characters, and cut to
// maxTool bytes.
func clean(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxTool)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}

// facts are what the script reports about the container.
type facts struct {
	machine string           // the output of uname -m, or empty
	header  bool             // the next line is elf
	elf     []byte           // the beginning of the ELF header of the shell, if there is no uname
	tools   map[string]bool  // the programs that exist
	values  map[string]int64 // limits and use, by the name of the file without its directory; no entry means no limit
	dirs    []string         // the directories that can be written
}

// add adds a line of the script. It reports whether the line is a known one.
func (f *facts) add(word, value string) bool {
	switch {
	case word == "machine":
		f.machine = value
	case word == "elf":
		f.header = true
	case word == "tools":
		f.tools = map[string]bool{}
		for _, tool := range strings.Fields(value) {
			f.tools[tool] = true
		}
	case word == "dir":
		f.dirs = append(f.dirs, value)
	case isLimit(path.Base(word)):
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			f.values[path.Base(word)] = n
		}
	default:
		return false
	}
	return true
}

func isLimit(name string) bool {
	switch name {
	case "memory.max", "memory.current", "memory.limit_in_bytes", "memory.usage_in_bytes",
		"inactive_file", "total_inactive_file", "pids.max", "pids.current":
		return true
	}
	return false
}

// headroom returns an error if the container has too little free memory, or may
// have too few processes. The cache of files that were not used recently
// counts as free, because the kernel frees it on demand.
func (f *facts) headroom() error {
	cached := max(f.values["inactive_file"], f.values["total_inactive_file"])
	for _, names := range [][2]string{
		{"memory.max", "memory.current"}, {"memory.limit_in_bytes", "memory.usage_in_bytes"},
	} {
		limit, limited := f.values[names[0]]
		if free := limit - max(f.values[names[1]]-cached, 0); limited && free < minMemory {
			return unable("only %d MiB of memory are free in the container; the agent needs %d MiB",
				max(free, 0)>>20, minMemory>>20)
		}
	}
	limit, limited := f.values["pids.max"]
	if free := limit - f.values["pids.current"]; limited && free < minProcesses {
		return unable("the container may start only %d more processes; the agent needs %d", max(free, 0), minProcesses)
	}
	return nil
}

// missing returns those of the tools that the container does not have.
func (f *facts) missing(tools ...string) []string {
	return slices.DeleteFunc(tools, func(tool string) bool { return f.tools[tool] })
}

// unpack returns the command that unpacks the agent, or that copies it if raw is
// true.
func (f *facts) unpack() (command string, raw bool) {
	switch {
	case f.tools["gzip"]:
		return "gzip -dc", false
	case f.tools["gunzip"]:
		return "gunzip -c", false
	case f.tools["busybox"]:
		return "busybox gunzip -c", false
	}
	return "cat", true
}

// goarch returns the architecture of the container as a value of GOARCH. If the
// architecture is unknown to Go, it returns what the container has reported.
func (f *facts) goarch() string {
	machine := f.machine
	if machine == "" && len(f.elf) >= 20 && string(f.elf[:4]) == "\x7fELF" {
		low, high := f.elf[18], f.elf[19]
		if f.elf[5] == 2 { // big endian
			low, high = high, low
		}
		number := int(low) | int(high)<<8
		switch number {
		case 62:
			return "amd64"
		case 183:
			return "arm64"
		}
		machine = "ELF machine " + strconv.Itoa(number)
	}
	switch machine {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64", "armv8l": // armv8l is the 32-bit view of a 64-bit kernel
		return "arm64"
	case "":
		return "unknown"
	}
	return machine
}

// upload sends the agent to the script, in blocks. After the first block, it
// waits until that was received, because the directory may be unusable.
type upload struct {
	image    []byte // nil: there is nothing to upload
	unpack   string
	progress func(sent, total int64)

	header bool // the command that unpacks was sent
	sent   int  // bytes of the image
	acked  int  // bytes of the image that the script has received
	end    bool // the end was sent

	asked    bool          // the script expects the first block, or has received it
	began    time.Duration // when asked was set
	measured bool          // the duration was estimated
}

// begin sends the image from its beginning.
func (u *upload) begin() {
	*u = upload{image: u.image, unpack: u.unpack, progress: u.progress}
}

// expected processes the report that the script expects the first block.
func (u *upload) expected(now time.Duration) { u.asked, u.began = true, now }

// received processes the report that a block was received. It returns false if
// no block can have been received.
func (u *upload) received() bool {
	if !u.asked || u.acked >= u.sent {
		return false
	}
	u.acked = min(u.acked+blockSize, len(u.image))
	if u.progress != nil {
		u.progress(int64(u.acked), int64(len(u.image)))
	}
	return true
}

// measure estimates once how long the rest of the upload takes. It returns an
// error if that is more than limit.
func (u *upload) measure(limit, now time.Duration) error {
	elapsed := now - u.began
	if limit == 0 || !u.asked || u.measured || u.acked == len(u.image) || elapsed < measureTime {
		return nil
	}
	known := max(u.acked, min(blockSize, len(u.image)))
	rest := time.Duration(float64(elapsed) * float64(len(u.image)-known) / float64(known))
	if rest <= limit && u.acked == 0 {
		return nil // the first block may take longer
	}
	u.measured = true
	if rest > limit {
		return unable("the upload of the agent would take %s on this connection", rest.Round(time.Second))
	}
	return nil
}

// next appends what can be sent to buf.
func (u *upload) next(buf []byte) []byte {
	switch {
	case u.image == nil || u.end:
		return buf
	case u.sent == len(u.image):
		u.end = true
		return append(buf, "0\nend\n"...)
	case u.acked == 0 && u.sent > 0, u.sent-u.acked >= uploadWindow:
		return buf
	}
	if !u.header {
		u.header = true
		buf = append(buf, u.unpack+"\n"...)
	}
	block := u.image[u.sent:min(u.sent+blockSize, len(u.image))]
	u.sent += len(block)
	buf = append(buf, strconv.Itoa(len(block))+"\n"...)
	return append(buf, block...)
}
