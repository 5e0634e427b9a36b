package exact

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A short input starts no program: the only dd tries the option iflag.
func TestScript_ProgramsForShortInput(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := shell.tools(t, "cat", "tr", "env", "sleep")
		writeScript(t, dir, "dd", `echo "$@" >>"${0%/*}/log"; exec /usr/bin/dd "$@"`)
		r := shell.run(t, Options{Stdin: strings.NewReader("input")}, []string{"/bin/cat"}, withEnv("PATH="+dir))
		r.check(0, "input")
		log, err := os.ReadFile(filepath.Join(dir, "log"))
		if err != nil && !shell.standalone() {
			t.Fatal(err)
		}
		if n := bytes.Count(log, []byte("\n")); n > 1 {
			t.Errorf("dd was started %d times:\n%s", n, log)
		}
	})
}

// BenchmarkStart measures the time from the start of the script to the report of
// the command's end, and the CPU time of the script and the command. "plain" is
// the command without the script.
func BenchmarkStart(b *testing.B) {
	for _, name := range append(allShells, "mksh") {
		if _, err := exec.LookPath(name); err != nil {
			continue
		}
		shell := findShell(b, name)
		b.Run(name+"/plain", func(b *testing.B) {
			var cpu time.Duration
			for b.Loop() {
				session := &syscall.SysProcAttr{Setsid: true}
				cmd := exec.CommandContext(b.Context(), "head", "-c", "1")
				cmd.SysProcAttr, cmd.Stdin, cmd.Stdout, cmd.Stderr = session, bytes.NewReader([]byte{0}), io.Discard, io.Discard
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
				cpu += cpuTime(cmd.ProcessState)
			}
			reportCPU(b, cpu)
		})
		b.Run(name+"/no_input", func(b *testing.B) {
			benchmarkStart(b, shell, nil, "true")
		})
		if name != "mksh" { // exact mode does not support mksh with input
			b.Run(name+"/input", func(b *testing.B) { benchmarkStart(b, shell, []byte{0}, "head", "-c", "1") })
		}
	}
}

func benchmarkStart(b *testing.B, shell shell, input []byte, command ...string) {
	b.Helper()
	var cpu time.Duration
	for b.Loop() {
		o := Options{}
		if input != nil {
			o.Stdin = bytes.NewReader(input)
		}
		r := shell.start(b, o, command)
		go r.sendStdin(1 << 62)
		r.awaitReport()
		b.StopTimer()
		r.close()
		<-r.exited
		r.waitUntilGone(waitLimit)
		cpu += cpuTime(r.cmd.ProcessState)
		b.StartTimer()
	}
	reportCPU(b, cpu)
}

// cpuTime returns the CPU time of a process and of its descendants that have
// ended.
func cpuTime(s *os.ProcessState) time.Duration { return s.UserTime() + s.SystemTime() }

func reportCPU(b *testing.B, total time.Duration) {
	b.Helper()
	b.ReportMetric(float64(total)/float64(b.N), "cpu-ns/op")
}

// BenchmarkUpload measures the transfer of 64 MiB of input to wc, and the CPU time
// of the script and wc. "plain" is the command without the script.
func BenchmarkUpload(b *testing.B) {
	const size = 64 << 20
	command := []string{"wc", "-c"}
	for _, name := range allShells {
		if _, err := exec.LookPath(name); err != nil {
			continue
		}
		shell := findShell(b, name)
		b.Run(name+"/plain", func(b *testing.B) {
			b.SetBytes(size)
			var cpu time.Duration
			for b.Loop() {
				cmd := exec.CommandContext(b.Context(), command[0], command[1:]...)
				cmd.Stdin = io.MultiReader(bytes.NewReader(make([]byte, size))) // a copy through a pipe
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
				cpu += cpuTime(cmd.ProcessState)
			}
			reportCPU(b, cpu)
		})
		b.Run(name+"/exact", func(b *testing.B) {
			b.SetBytes(size)
			var cpu time.Duration
			for b.Loop() {
				r := shell.start(b, Options{Stdin: bytes.NewReader(make([]byte, size))}, command)
				go r.sendStdin(1 << 62)
				r.awaitReport()
				b.StopTimer()
				r.close()
				<-r.exited
				cpu += cpuTime(r.cmd.ProcessState)
				b.StartTimer()
			}
			reportCPU(b, cpu)
		})
	}
}
