//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kshell/bench/bareclient"
	"kshell/test/faultproxy"
)

// row is one measurement, with one or more figures.
type row struct {
	name    string // for the flag -rows
	runs    int    // the default number of runs
	quick   int    // the number of runs with -quick
	measure func(ctx context.Context, b *bench, runs int) ([]figure, error)
}

// The limits are those of the issue "Faster than kubectl, measured beside it".
var rows = []row{
	{"exec", 41, 5, func(ctx context.Context, b *bench, runs int) ([]figure, error) {
		figures, err := b.compareExec(ctx, runs, "exec", "`exec two -c main -- true`", b.direct)
		if err == nil {
			figures[0].limit, figures[1].limit, figures[2].limit = 0.58, 0.22, 0.25
		}
		return figures, err
	}},
	{"exec-20ms", 11, 3, func(ctx context.Context, b *bench, runs int) ([]figure, error) {
		return b.compareDelayed(ctx, runs, 10*time.Millisecond, 0)
	}},
	{"exec-100ms", 11, 3, func(ctx context.Context, b *bench, runs int) ([]figure, error) {
		return b.compareDelayed(ctx, runs, 50*time.Millisecond, 0.60)
	}},
	{"help", 41, 5, compareHelp},
	{"down", 5, 1, compareDown},
	{"up", 5, 1, compareUp},
	{"keys", 500, 100, compareKeys},
	{"all", 5, 1, compareAll},
	{"lines", 15, 3, compareLines},
}

// contestant is a program in a row.
type contestant struct {
	program program
	job     job
}

// take runs the contestants in turn, runs times each. The order rotates.
func (b *bench) take(ctx context.Context, runs int, contestants ...contestant) ([][]sample, error) {
	samples := make([][]sample, len(contestants))
	for i := range runs {
		for k := range contestants {
			n := (i + k) % len(contestants)
			s, err := b.run(ctx, contestants[n].program, contestants[n].job)
			if err != nil {
				return nil, err
			}
			samples[n] = append(samples[n], s)
		}
	}
	return samples, nil
}

func walls(samples []sample) (s series) {
	for _, one := range samples {
		s = append(s, inMilliseconds(one.wall))
	}
	return s
}

func firsts(samples []sample) (s series) {
	for _, one := range samples {
		s = append(s, inMilliseconds(one.first))
	}
	return s
}

func cpus(samples []sample) (s series) {
	for _, one := range samples {
		s = append(s, inMilliseconds(one.cpu))
	}
	return s
}

func memories(samples []sample) (s series) {
	for _, one := range samples {
		s = append(s, float64(one.memory)/(1<<20))
	}
	return s
}

// compareExec returns the figures of a command that does nothing: elapsed time,
// CPU time and memory.
func (b *bench) compareExec(ctx context.Context, runs int, key, work string, via access) ([]figure, error) {
	s, err := b.take(ctx, runs,
		contestant{program: b.kubectlExec(via, two, false, "true")},
		contestant{program: b.kshellExec(via, false, nil, "true")},
		contestant{program: b.bareExec(via, bareclient.V5, false, "true")})
	if err != nil {
		return nil, err
	}
	return []figure{
		{key: key + "/wall", work: work, unit: milliseconds, other: walls(s[0]), kshell: walls(s[1]), bare: walls(s[2])},
		{key: key + "/cpu", work: "CPU", unit: milliseconds, other: cpus(s[0]), kshell: cpus(s[1]), bare: cpus(s[2])},
		{
			key: key + "/memory", work: "peak memory", unit: mebibytes,
			other: memories(s[0]), kshell: memories(s[1]), bare: memories(s[2]),
		},
	}, nil
}

// compareDelayed compares a command that does nothing over a link with a delay
// in each direction. TCP connections are opened without the delay.
func (b *bench) compareDelayed(ctx context.Context, runs int, delay time.Duration, limit float64) (
	figures []figure, err error,
) {
	proxy, err := faultproxy.Start(faultproxy.Config{Target: b.direct.server.Host, Remote: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, proxy.Close()) }()
	proxy.Delay(faultproxy.ToServer, delay)
	proxy.Delay(faultproxy.ToClient, delay)
	via, err := b.through(proxy.Addr())
	if err != nil {
		return nil, err
	}
	work := fmt.Sprintf("the same, round trip of %d ms", 2*delay.Milliseconds())
	figures, err = b.compareExec(ctx, runs, fmt.Sprintf("exec-%dms", 2*delay.Milliseconds()), work, via)
	if err != nil {
		return nil, err
	}
	figures[0].limit = limit
	return figures[:1], nil
}

func compareHelp(ctx context.Context, b *bench, runs int) ([]figure, error) {
	s, err := b.take(ctx, runs,
		contestant{program: program{argv: []string{b.kubectl, "--help"}}},
		contestant{program: program{argv: []string{b.kshell, "--help"}}})
	if err != nil {
		return nil, err
	}
	return []figure{{
		key: "help/wall", work: "`--help`", unit: milliseconds, other: walls(s[0]), kshell: walls(s[1]), limit: 0.15,
	}}, nil
}

// sizeIs returns a check of the size of the output.
func sizeIs(n int64) func(output) bool { return func(o output) bool { return o.size == n } }

// prints returns a check of the whole output, without the spaces around it.
func prints(text string) func(output) bool {
	return func(o output) bool { return string(bytes.TrimSpace(o.head)) == text }
}

func compareDown(ctx context.Context, b *bench, runs int) ([]figure, error) {
	command := []string{"dd", "if=/dev/zero", "bs=1M", fmt.Sprint("count=", b.volume>>20)}
	j := job{check: sizeIs(b.volume)}
	s, err := b.take(ctx, runs,
		contestant{b.kubectlExec(b.direct, two, false, command...), j},
		contestant{b.kshellExec(b.direct, false, nil, command...), j},
		contestant{b.kshellExec(b.direct, false, []string{"--exact=never"}, command...), j},
		contestant{b.bareExec(b.direct, bareclient.V4, false, command...), j})
	if err != nil {
		return nil, err
	}
	return transferFigures("down", b.volume, 0.72, s), nil
}

// transferFigures returns the figures of a transfer in a direction. s has the
// samples of kubectl, kshell, kshell --exact=never and the bare client. limit is
// the largest ratio of kshell's time to kubectl's that is allowed.
func transferFigures(direction string, volume int64, limit float64, s [][]sample) []figure {
	return []figure{
		{
			key: direction + "/wall", work: fmt.Sprintf("%d MiB %s", volume>>20, direction), unit: milliseconds, limit: limit,
			other: walls(s[0]), kshell: walls(s[1]), bare: walls(s[3]),
		},
		{key: direction + "/cpu", work: "CPU", unit: milliseconds, other: cpus(s[0]), kshell: cpus(s[1]), bare: cpus(s[3])},
		{
			key: direction + "/plain", work: "`--exact=never`", unit: milliseconds,
			other: walls(s[0]), kshell: walls(s[2]), bare: walls(s[3]),
		},
		{
			key: direction + "/exact", work: "exact mode beside `--exact=never`", unit: milliseconds, limit: 1.10,
			otherIs: "plain", other: walls(s[2]), kshell: walls(s[1]),
		},
	}
}

func compareUp(ctx context.Context, b *bench, runs int) ([]figure, error) {
	j := job{stdin: b.volume, check: prints(fmt.Sprint(b.volume))}
	s, err := b.take(ctx, runs,
		contestant{b.kubectlExec(b.direct, two, true, "wc", "-c"), j},
		contestant{b.kshellExec(b.direct, true, nil, "wc", "-c"), j},
		contestant{b.kshellExec(b.direct, true, []string{"--exact=never"}, "wc", "-c"), j},
		contestant{b.bareExec(b.direct, bareclient.V5, true, "wc", "-c"), j})
	if err != nil {
		return nil, err
	}
	return transferFigures("up", b.volume, 1.0, s), nil
}

func compareKeys(ctx context.Context, b *bench, keys int) ([]figure, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	echo := []string{"cat"} // the terminal in the container echoes the keys
	var typists []*typist
	defer func() {
		for _, t := range typists {
			t.close()
		}
	}()
	for _, open := range []func() (*typist, error){
		func() (*typist, error) {
			return openPty(ctx, "kubectl", b.kubectlTerminal(b.direct, echo...))
		},
		func() (*typist, error) {
			return openPty(ctx, "kshell", b.kshellTerminal(b.direct, echo...))
		},
		func() (*typist, error) {
			return openBare(ctx, b.direct.server, bareclient.Exec{
				Namespace: namespace, Pod: two, Container: "main", Command: echo, Stdin: true, TTY: true,
				Protocol: bareclient.V5,
			})
		},
	} {
		t, err := open()
		if err != nil {
			return nil, err
		}
		typists = append(typists, t)
	}
	times, err := typeKeys(ctx, typists, keys)
	if err != nil {
		return nil, err
	}
	p50 := figure{
		key: "keys/p50", work: fmt.Sprintf("key echo, p50 of %d keys", keys), unit: milliseconds, quantile: 0.5,
		other: times[0], kshell: times[1], bare: times[2], limit: 0.9,
	}
	p99 := p50
	p99.key, p99.work, p99.quantile, p99.limit = "keys/p99", "p99", 0.99, 1.0
	return []figure{p50, p99}, nil
}

func compareAll(ctx context.Context, b *bench, runs int) ([]figure, error) {
	kubectl := strings.Join(b.kubectlExec(b.direct, "{}", false, "true").argv, " ")
	names := strings.Join(append(b.kubectlArgs(b.direct), "get", "pods", "-l", "app=many", "-o", "name"), " ")
	script := names + " | xargs -P10 -I{} " + kubectl
	s, err := b.take(ctx, runs,
		contestant{program: program{argv: []string{"sh", "-c", script}}},
		contestant{program: program{argv: append(b.kshellArgs(b.direct), "exec", "-l", "app=many", "--all", "--", "true")}})
	if err != nil {
		return nil, err
	}
	work := fmt.Sprintf("%d pods, `--all -- true` beside `xargs -P10`", manyPods)
	return []figure{
		{key: "all/wall", work: work, unit: milliseconds, other: walls(s[0]), kshell: walls(s[1]), limit: 0.40},
		{key: "all/cpu", work: "CPU", unit: milliseconds, other: cpus(s[0]), kshell: cpus(s[1]), limit: 0.05},
	}, nil
}

func compareLines(ctx context.Context, b *bench, runs int) ([]figure, error) {
	const lines = 10_000
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo line; i=$((i+1)); done`, lines)
	command := []string{"sh", "-c", script}
	j := job{check: sizeIs(lines * int64(len("line\n")))}
	s, err := b.take(ctx, runs,
		contestant{b.kubectlExec(b.direct, two, false, command...), j},
		contestant{b.kshellExec(b.direct, false, nil, command...), j},
		contestant{b.bareExec(b.direct, bareclient.V4, false, command...), j})
	if err != nil {
		return nil, err
	}
	return []figure{
		{
			key: "lines/first", work: "10,000 small lines, to the first byte", unit: milliseconds, limit: 0.8,
			other: firsts(s[0]), kshell: firsts(s[1]), bare: firsts(s[2]),
		},
		{
			key: "lines/last", work: "to the end", unit: milliseconds, limit: 0.8,
			other: walls(s[0]), kshell: walls(s[1]), bare: walls(s[2]),
		},
	}, nil
}
