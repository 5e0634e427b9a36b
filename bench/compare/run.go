//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// program is one of the programs that are compared, with its arguments.
type program struct {
	argv []string
	env  []string // in addition to the environment
}

// job is what a program must do in one run.
type job struct {
	stdin int64             // the number of zeros to send as stdin; 0: none
	check func(output) bool // reports whether the output is right; nil: any output is
}

// output is the output of a run.
type output struct {
	size int64
	head []byte // the first bytes, at most maxHead
}

const maxHead = 4 << 10

// sample contains the costs of one run.
type sample struct {
	first  time.Duration // until the first byte of output
	wall   time.Duration
	cpu    time.Duration
	memory int64 // the peak, in bytes
}

// runLimit is the time limit of one run.
const runLimit = 2 * time.Minute

// run runs a program once. It is an error if the program fails or its output is
// wrong.
func (b *bench) run(ctx context.Context, p program, j job) (s sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", p.argv[0], err)
		}
	}()
	cmd := exec.CommandContext(ctx, b.launch, p.argv...)
	cmd.Env = append(os.Environ(), p.env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if j.stdin > 0 {
		in, err := b.zeros(j.stdin)
		if err != nil {
			return sample{}, err
		}
		defer func() { _ = in.Close() }()
		cmd.Stdin = in
	}
	out, outW, err := os.Pipe()
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = out.Close() }()
	report, reportW, err := os.Pipe()
	if err != nil {
		_ = outW.Close()
		return sample{}, err
	}
	defer func() { _ = report.Close() }()
	cmd.Stdout, cmd.ExtraFiles = outW, []*os.File{reportW}
	err = cmd.Start()
	_, _ = outW.Close(), reportW.Close()
	if err != nil {
		return sample{}, err
	}
	got, first, err := readAll(out)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, errs.Bytes())
	}
	var began, wall, cpu int64
	var exit int
	if _, err := fmt.Fscan(report, &began, &wall, &cpu, &s.memory, &exit); err != nil {
		return sample{}, fmt.Errorf("no report of the run: %w", err)
	}
	switch {
	case exit != 0:
		return sample{}, fmt.Errorf("exit code %d: %s", exit, errs.Bytes())
	case j.check != nil && !j.check(got):
		return sample{}, fmt.Errorf("wrong output, %d bytes: %.100q", got.size, got.head)
	}
	s.wall, s.cpu = time.Duration(wall), time.Duration(cpu)
	if got.size > 0 {
		s.first = time.Duration(first.UnixNano() - began)
	}
	return s, nil
}

// readAll reads to the end, and returns when the first byte arrived.
func readAll(r io.Reader) (got output, first time.Time, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 && got.size == 0 {
			first = time.Now()
		}
		got.size += int64(n)
		got.head = append(got.head, buf[:min(n, maxHead-len(got.head))]...)
		if errors.Is(err, io.EOF) {
			return got, first, nil
		}
		if err != nil {
			return got, first, err
		}
	}
}

// zeros opens a sparse file of n zeros.
func (b *bench) zeros(n int64) (*os.File, error) {
	f, err := os.CreateTemp(b.dir, "zeros")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // the file exists until it is closed
	if err := f.Truncate(n); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
