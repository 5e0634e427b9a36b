package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"time"

	"kshell/bench/bareclient"
	"kshell/internal/sandbox"
)

const (
	transfer = 128 << 20 // bytes
	// pairs is the maximum number of pairs of transfers. If the machine is busy
	// during a pair, its ratio may be too small, so the largest ratio counts.
	pairs = 8
	// minThroughput is the smallest throughput of kshell as a part of that of
	// the bare client on the same connection. Both are smaller than on a
	// cluster, because the sandbox runs on the same CPUs.
	minThroughput = 0.5
)

// throughput transfers data from and to a sandbox with kshell and with the bare
// client in turn, and compares the two.
func throughput(binary string) (err error) {
	dir, err := os.MkdirTemp("", "kshell-guard")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := sandbox.Start(sandbox.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	u, err := url.Parse(s.URL())
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(s.CA())
	if err != nil {
		return err
	}
	p := pair{
		binary: binary, kubeconfig: s.Kubeconfig(),
		server: bareclient.Server{Host: u.Host, CA: ca, Token: s.Token("admin")},
	}
	return errors.Join(p.compare("down", p.kshellDown, p.bareDown), p.compare("up", p.kshellUp, p.bareUp))
}

// pair is kshell and the bare client, on the same sandbox.
type pair struct {
	binary, kubeconfig string
	server             bareclient.Server
}

// compare measures pairs until one meets the budget.
func (p *pair) compare(direction string, kshell, bare func() error) error {
	best := 0.0
	var took [2]time.Duration
	for i := 0; i < pairs && best < minThroughput; i++ {
		for k, run := range []func() error{bare, kshell} {
			began := time.Now()
			if err := run(); err != nil {
				return fmt.Errorf("%d MiB %s: %w", transfer>>20, direction, err)
			}
			took[k] = time.Since(began)
		}
		best = max(best, float64(took[0])/float64(took[1]))
	}
	fmt.Printf("%-9s %5.2f      of the throughput of a bare client (budget %.2f; %d MiB in %.0f ms, bare %.0f ms)\n",
		direction, best, minThroughput, transfer>>20, ms(took[1]), ms(took[0]))
	if best < minThroughput {
		return fmt.Errorf("%s: kshell reaches %.2f of the throughput of a bare client", direction, best)
	}
	return nil
}

func (p *pair) kshellDown() error {
	return p.kshell(nil, transfer, "head", "-c", strconv.Itoa(transfer), "/dev/zero")
}

func (p *pair) kshellUp() error { return p.kshell(&zeros{transfer}, 0, "sh", "-c", checkInput) }

// checkInput is a command that fails if it does not read transfer bytes.
var checkInput = fmt.Sprintf("test $(wc -c) = %d", transfer)

// kshell runs kshell, and checks the size of the output.
func (p *pair) kshell(stdin io.Reader, want int64, command ...string) error {
	args := []string{"--kubeconfig", p.kubeconfig, "exec", "web"}
	if stdin != nil {
		args = append(args, "-i")
	}
	cmd := exec.Command(p.binary, append(append(args, "--"), command...)...)
	var out counter
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	return out.check(want)
}

func (p *pair) bareDown() error {
	conn, err := p.dial(bareclient.Exec{
		Command:  []string{"head", "-c", strconv.Itoa(transfer), "/dev/zero"},
		Protocol: bareclient.V4,
	})
	if err != nil {
		return err
	}
	var out counter
	return errors.Join(conn.Copy(&out, io.Discard), out.check(transfer), conn.Close())
}

func (p *pair) bareUp() error {
	conn, err := p.dial(bareclient.Exec{
		Command: []string{"sh", "-c", checkInput}, Stdin: true, Protocol: bareclient.V5,
	})
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{conn}, &zeros{transfer}, make([]byte, bareclient.MaxPayload))
		sent <- errors.Join(err, conn.CloseStdin())
	}()
	return errors.Join(conn.Copy(io.Discard, os.Stderr), <-sent, conn.Close())
}

func (p *pair) dial(e bareclient.Exec) (*bareclient.Conn, error) {
	e.Namespace, e.Pod, e.Container = "default", "web", "web"
	return bareclient.Dial(context.Background(), p.server, e)
}

// zeros is a reader of left zeros.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	clear(p[:n])
	z.left -= n
	return n, nil
}

// counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func (c *counter) check(want int64) error {
	if int64(*c) != want {
		return fmt.Errorf("%d bytes of output, want %d", *c, want)
	}
	return nil
}
