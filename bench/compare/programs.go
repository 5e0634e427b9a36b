//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kshell/bench/bareclient"
)

// access is a way to the API server.
type access struct {
	kubeconfig string
	server     bareclient.Server
	caFile     string
}

// kubectlArgs returns kubectl with its connection flags.
func (b *bench) kubectlArgs(via access) []string {
	return []string{b.kubectl, "--kubeconfig", via.kubeconfig, "-n", namespace}
}

// kshellArgs returns kshell with its connection flags.
func (b *bench) kshellArgs(via access) []string {
	return []string{b.kshell, "--kubeconfig", via.kubeconfig, "-n", namespace}
}

// stdinFlags returns -i if stdin is to be sent.
func stdinFlags(stdin bool) []string {
	if stdin {
		return []string{"-i"}
	}
	return nil
}

func (b *bench) kubectlExec(via access, pod string, stdin bool, command ...string) program {
	args := append(append(b.kubectlArgs(via), "exec", pod, "-c", "main"), stdinFlags(stdin)...)
	return program{argv: append(append(args, "--"), command...)}
}

func (b *bench) kshellExec(via access, stdin bool, flags []string, command ...string) program {
	args := append(append(b.kshellArgs(via), "exec", two, "-c", "main"), stdinFlags(stdin)...)
	return program{argv: append(append(append(args, flags...), "--"), command...)}
}

func (b *bench) kubectlTerminal(via access, command ...string) program {
	return program{argv: append(append(b.kubectlArgs(via), "exec", two, "-c", "main", "-it", "--"), command...)}
}

func (b *bench) kshellTerminal(via access, command ...string) program {
	return program{argv: append(append(b.kshellArgs(via), "exec", two, "-c", "main", "-it", "--"), command...)}
}

func (b *bench) bareExec(via access, protocol string, stdin bool, command ...string) program {
	args := append([]string{
		b.bare, "-server", via.server.Host, "-server-name", via.server.Name, "-ca", via.caFile,
		"-protocol", protocol, "-n", namespace, "-pod", two, "-c", "main",
	}, stdinFlags(stdin)...)
	return program{argv: append(append(args, "--"), command...), env: []string{"TOKEN=" + via.server.Token}}
}

// kubeconfig is the part of a kubeconfig file that the bare client needs. It
// has one cluster, one user and one context.
type kubeconfig struct {
	APIVersion     string `json:"apiVersion"`
	Kind           string `json:"kind"`
	CurrentContext string `json:"current-context"`
	Clusters       []struct {
		Name    string `json:"name"`
		Cluster struct {
			Server     string `json:"server"`
			ServerName string `json:"tls-server-name,omitempty"`
			CA         []byte `json:"certificate-authority-data"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		Name string `json:"name"`
		User struct {
			Token string `json:"token"`
		} `json:"user"`
	} `json:"users"`
	Contexts json.RawMessage `json:"contexts"`
}

// readAccess reads a kubeconfig file. The user must have a token.
func (b *bench) readAccess(ctx context.Context, path string) error {
	text, err := b.output(ctx, nil, b.kubectl, "--kubeconfig", path, "config", "view", "--raw", "--minify", "--flatten",
		"-o", "json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &b.config); err != nil {
		return err
	}
	if len(b.config.Clusters) != 1 || len(b.config.Users) != 1 || b.config.Users[0].User.Token == "" {
		return fmt.Errorf("the context of %s has no user with a token", path)
	}
	u, err := url.Parse(b.config.Clusters[0].Cluster.Server)
	if err != nil {
		return err
	}
	b.direct, err = b.through(u.Host)
	return err
}

// through returns the way to the API server over another address, such as that
// of a proxy.
func (b *bench) through(addr string) (access, error) {
	cfg := b.config
	cluster := cfg.Clusters[0] // a copy
	u, err := url.Parse(cluster.Cluster.Server)
	if err != nil {
		return access{}, err
	}
	if cluster.Cluster.ServerName == "" {
		cluster.Cluster.ServerName = u.Hostname()
	}
	cluster.Cluster.Server = "https://" + addr
	cfg.Clusters = append(cfg.Clusters[:0:0], cluster)
	text, err := json.Marshal(cfg)
	if err != nil {
		return access{}, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return access{}, fmt.Errorf("the address of the server needs a port: %w", err)
	}
	via := access{
		kubeconfig: filepath.Join(b.dir, "kubeconfig-"+port),
		caFile:     filepath.Join(b.dir, "ca.crt"),
		server: bareclient.Server{
			Host: addr, Name: cluster.Cluster.ServerName, CA: cluster.Cluster.CA, Token: cfg.Users[0].User.Token,
		},
	}
	if err := os.WriteFile(via.caFile, cluster.Cluster.CA, 0o600); err != nil {
		return access{}, err
	}
	return via, os.WriteFile(via.kubeconfig, text, 0o600)
}

// namespace is the namespace of the pods of the benchmark.
const namespace = "kshell-bench"

// two is the name of the pod with two containers, main and side.
const two = "two"

// manyPods is the number of pods of the row "all".
const manyPods = 30

// manifest returns the pods of the benchmark: two, with two containers, and
// many-0 to many-29.
func (b *bench) manifest() string {
	var m strings.Builder
	fmt.Fprintf(&m, "{apiVersion: v1, kind: Namespace, metadata: {name: %s}}\n", namespace)
	pod := func(name, app string, containers ...string) {
		fmt.Fprintf(&m, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s, labels: {app: %s}}\n"+
			"spec:\n  terminationGracePeriodSeconds: 1\n  containers:\n", name, namespace, app)
		for _, c := range containers {
			fmt.Fprintf(&m, "    - {name: %s, image: %q, command: [sleep, infinity]}\n", c, b.image)
		}
	}
	pod(two, two, "main", "side")
	if b.selected("all") {
		for i := range manyPods {
			pod(fmt.Sprint("many-", i), "many", "main")
		}
	}
	return m.String()
}

// createPods creates the pods, and waits until they are ready.
func (b *bench) createPods(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	// The service account of a new namespace is created after a moment.
	for {
		_, err := b.output(ctx, strings.NewReader(b.manifest()), b.kubectl, "--kubeconfig", b.direct.kubeconfig,
			"apply", "--server-side", "--force-conflicts", "-f", "-")
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the pods cannot be created: %w", err)
		case <-time.After(time.Second):
		}
	}
	wait := append(b.kubectlArgs(b.direct), "wait", "--for=condition=Ready", "--timeout=5m", "pods", "--all")
	_, err := b.output(ctx, nil, wait...)
	return err
}

// deletePods deletes the namespace, and does not wait.
func (b *bench) deletePods() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := b.output(ctx, nil, b.kubectl, "--kubeconfig", b.direct.kubeconfig, "delete", "namespace", namespace,
		"--wait=false")
	return err
}

// output runs a command, and returns its stdout.
func (b *bench) output(ctx context.Context, stdin *strings.Reader, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if stdin != nil {
		cmd.Stdin = stdin
	}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.Bytes(), nil
}
