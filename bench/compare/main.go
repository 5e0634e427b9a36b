//go:build linux

// Command compare measures kshell beside kubectl on a cluster, in runs that
// alternate, and writes the medians and ratios to docs/performance.md. "make
// bench" runs it on the cluster of test/e2e:
//
//	make bench                                      # all rows; writes docs/performance.md
//	make bench BENCH='-rows exec -runs 11 -keep'    # one row; prints the table
//
// A bare WebSocket client (package bareclient) shows the limit of what a client
// can reach on the same connection.
//
// The file reasons.txt has the reasons for the ratios that are larger than
// required. They are copied to the document.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// bench is the configuration of all rows.
type bench struct {
	kubectl, kshell, bare, launch string // the paths of the programs
	image                         string // of the pods
	dir                           string // for files; it is removed at the end
	volume                        int64  // of a transfer, in bytes

	rows   *regexp.Regexp
	config kubeconfig
	direct access
}

// selected reports whether a row is to be measured.
func (b *bench) selected(name string) bool { return b.rows.MatchString(name) }

type flags struct {
	kubeconfig, kubectl, kshell string
	rows, image, doc            string
	runs                        int
	mebibytes                   int64
	quick, busy, keep           bool
}

func main() {
	var f flags
	flag.StringVar(&f.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig `file`; its user must have a token")
	flag.StringVar(&f.kubectl, "kubectl", "kubectl", "`path` of kubectl")
	flag.StringVar(&f.kshell, "kshell", "./kshell", "`path` of kshell")
	flag.StringVar(&f.rows, "rows", "", "measure only the rows whose name matches this `regexp`: "+rowNames())
	flag.IntVar(&f.runs, "runs", 0, "number of runs of each row; for the row keys, the number of keys (0: the row's own)")
	flag.Int64Var(&f.mebibytes, "volume", 512, "size of a transfer in `MiB`")
	flag.BoolVar(&f.quick, "quick", false, "few runs, and transfers of 64 MiB")
	flag.BoolVar(&f.busy, "busy", false, "measure although the machine is busy")
	flag.BoolVar(&f.keep, "keep", false, "keep the pods for the next benchmark")
	flag.StringVar(&f.image, "image", "kshell.local/busybox:1", "`image` of the pods; it needs sh, sleep, dd, cat and wc")
	flag.StringVar(&f.doc, "doc", "docs/performance.md", "`file` to write the table to, if all rows are measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, f)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func rowNames() string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return strings.Join(names, ", ")
}

func run(ctx context.Context, f flags) (err error) {
	whole := f.rows == "" && f.runs == 0 && !f.quick
	b := &bench{kubectl: f.kubectl, image: f.image, volume: f.mebibytes << 20}
	if f.quick {
		b.volume = min(b.volume, 64<<20)
	}
	if b.rows, err = regexp.Compile("^(" + f.rows + ")"); err != nil {
		return err
	}
	if b.kshell, err = filepath.Abs(f.kshell); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "kshell-bench"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := b.readAccess(ctx, f.kubeconfig); err != nil {
		return err
	}
	if !f.keep {
		defer func() { err = errors.Join(err, b.deletePods()) }()
	}
	if err := b.createPods(ctx); err != nil {
		return err
	}
	if err := awaitQuiet(ctx, f.busy); err != nil {
		return err
	}
	r := report{began: time.Now(), busy: f.busy}
	if r.machine, err = b.describe(ctx); err != nil {
		return err
	}
	if err := b.measure(ctx, f, &r); err != nil {
		return err
	}
	text, err := r.format()
	if err != nil {
		return err
	}
	fmt.Println(text)
	if whole {
		return writeSection(f.doc, text)
	}
	return nil
}

// build builds the other programs of the benchmark.
func (b *bench) build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.dir,
		"./bench/bare", "./bench/launch")
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	b.bare, b.launch = filepath.Join(b.dir, "bare"), filepath.Join(b.dir, "launch")
	return cmd.Run()
}

// measure measures the selected rows.
func (b *bench) measure(ctx context.Context, f flags, r *report) error {
	for _, row := range rows {
		if !b.selected(row.name) {
			continue
		}
		runs := row.runs
		if f.quick {
			runs = row.quick
		}
		if f.runs > 0 {
			runs = f.runs
		}
		began := time.Now()
		figures, err := row.measure(ctx, b, runs)
		if err != nil {
			return fmt.Errorf("row %s: %w", row.name, err)
		}
		fmt.Fprintf(os.Stderr, "bench: %s: %d runs in %v\n", row.name, runs, time.Since(began).Round(time.Second/10))
		for i := range figures {
			figures[i].runs = runs
		}
		r.figures = append(r.figures, figures...)
	}
	return nil
}
