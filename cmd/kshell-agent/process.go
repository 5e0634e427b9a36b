//go:build linux

package main

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	environVariable = "KSHELL_AGENT_ENVIRON"

	// maxEnviron is the maximum size of an environment that fits into one variable
	// (128 KiB) after it was encoded.
	maxEnviron = 60 << 10
)

// printParent prints the environment with which the parent process was started, and
// the signals that the command is to ignore. It prints nothing if the environment is
// unknown or larger than maxEnviron. The signals are read from status, the content of
// /proc/PID/status of a process that the parent has started: bash ignores SIGQUIT, but
// the programs that it starts do not. If status is empty, the signals of the parent are
// used.
func printParent(stdout *os.File, status string) error {
	proc := "/proc/" + itoa(os.Getppid())
	environ, _ := os.ReadFile(proc + "/environ")
	if len(environ) == 0 || len(environ) > maxEnviron {
		return nil
	}
	if status == "" {
		text, _ := os.ReadFile(proc + "/status")
		status = string(text)
	}
	text := ignoredSignals(status) + "\x00" + string(environ)
	_, err := stdout.WriteString(encodeHex(text) + "\n")
	return err
}

const hexDigits = "0123456789abcdef"

func encodeHex(text string) string {
	encoded := make([]byte, 0, 2*len(text))
	for i := range len(text) {
		encoded = append(encoded, hexDigits[text[i]>>4], hexDigits[text[i]&15])
	}
	return string(encoded)
}

// decodeHex reports whether the text has an even number of hexadecimal digits.
func decodeHex(encoded string) (string, bool) {
	text := make([]byte, 0, len(encoded)/2)
	for ; len(encoded) >= 2; encoded = encoded[2:] {
		high, low := strings.IndexByte(hexDigits, encoded[0]), strings.IndexByte(hexDigits, encoded[1])
		if high < 0 || low < 0 {
			return "", false
		}
		text = append(text, byte(high<<4|low))
	}
	return string(text), encoded == "" && len(text) > 0
}

// ignoredSignals returns the mask of the signals that a process ignores, in
// hexadecimal digits, or "". status is the content of its file /proc/PID/status.
func ignoredSignals(status string) string {
	_, after, _ := strings.Cut(status, "\nSigIgn:\t")
	mask, _, _ := strings.Cut(after, "\n")
	return mask
}

// commandEnviron returns what "serve" reads: the ignored signals and the environment
// of the command, each followed by a zero byte.
func commandEnviron() string {
	if encoded, ok := os.LookupEnv(environVariable); ok {
		if text, ok := decodeHex(encoded); ok {
			return text
		}
	}
	var text strings.Builder
	text.WriteByte(0)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, environVariable+"=") {
			text.WriteString(variable + "\x00")
		}
	}
	return text.String()
}

// parseEnviron returns the parts of the output of commandEnviron.
func parseEnviron(text string) (ignored []syscall.Signal, environ []string) {
	mask, rest, _ := strings.Cut(text, "\x00")
	bits, _ := strconv.ParseUint(mask, 16, 64)
	const interrupt, quit = 1 << (unix.SIGINT - 1), 1 << (unix.SIGQUIT - 1)
	if bits&interrupt == 0 {
		// The shell of busybox always ignores SIGQUIT, but its children do not. A process
		// that is started with SIGQUIT ignored, such as a background job, usually ignores
		// SIGINT, too.
		bits &^= quit
	}
	for n := syscall.Signal(1); n < 32; n++ {
		if bits&(1<<(n-1)) != 0 {
			ignored = append(ignored, n)
		}
	}
	for _, variable := range strings.Split(rest, "\x00") {
		if variable != "" {
			environ = append(environ, variable)
		}
	}
	return ignored, environ
}

// setVariable sets or replaces a variable, which is NAME=VALUE.
func setVariable(environ []string, variable string) []string {
	name := variable[:strings.IndexByte(variable, '=')+1]
	for i := range environ {
		if strings.HasPrefix(environ[i], name) {
			environ[i] = variable
			return environ
		}
	}
	return append(environ, variable)
}

// closeOnExec marks all descriptors except the standard streams, so that the serving
// process does not inherit them: an exec does not end while its stdout is open.
func closeOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		for fd := 3; fd < 1024; fd++ {
			unix.CloseOnExec(fd)
		}
		return
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// withIgnored calls f while the signals are ignored, so that a process that f starts
// ignores them, too.
func withIgnored(signals []syscall.Signal, f func()) {
	for _, s := range signals {
		signal.Ignore(s)
	}
	f()
	for _, s := range signals {
		signal.Reset(s)
	}
}

// findProgram returns the paths to try for the name of a program.
func findProgram(name string, environ []string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, variable := range environ {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			path = value
			break
		}
	}
	var paths []string
	for _, dir := range strings.Split(path, ":") {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + name
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			paths = append(paths, file)
		}
	}
	return paths
}

// groups returns the process groups of a session.
func groups(session int) []int {
	entries, _ := os.ReadDir("/proc")
	var found []int
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// PID (NAME) STATE PARENT GROUP SESSION ...
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 4 || fields[3] != itoa(session) || fields[0] == "Z" {
			continue
		}
		if group, err := strconv.Atoi(fields[2]); err == nil && !contains(found, group) {
			found = append(found, group)
		}
	}
	return found
}

func contains(list []int, n int) bool {
	for _, m := range list {
		if m == n {
			return true
		}
	}
	return false
}

// openTerminal returns a new terminal: the end of the agent, and that of the command.
func openTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	control(master, func(fd int) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return
		}
		// The path of the terminal may be that of another mount namespace, so the
		// kernel is asked first.
		var peer uintptr
		if r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER,
			uintptr(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)); errno == 0 {
			peer = r
			slave = os.NewFile(peer, "terminal")
			return
		}
		var n int
		if n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err == nil {
			slave, err = os.OpenFile("/dev/pts/"+itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
		}
	})
	if err != nil {
		master.Close()
		return nil, nil, errors.New("no terminal: " + err.Error())
	}
	return master, slave, nil
}

// control calls f with the descriptor of a file, which stays in non-blocking mode.
func control(file *os.File, f func(fd int)) {
	if raw, err := file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
