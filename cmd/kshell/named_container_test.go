//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/sandbox"
)

// If -c names the container, two requests are made at the same time: for the
// pod, and for the command. The credential plugin is run once for both.
func TestNamedContainer_PluginRunsOnce(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"-i"}, {"-it"}} {
		t.Run(strings.Join(flags, ""), func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			path, _, log := withPlugin(t, s, "admin", false)
			args := append([]string{"--kubeconfig", path, "exec", "web", "-c", "web"}, flags...)
			tty := len(flags) > 0 && flags[0] == "-it"
			mustRun(t, s, tty, append(args, "--", "true")...)
			modes := "none"
			if tty {
				modes = "cooked"
			}
			mustLog(t, log, modes)
		})
	}
}

// runPlugin runs a command with a credential plugin, a shell script in which
// $RUNS is the number of the run and $TOKEN is a token. It returns the exit code,
// what was written to stdout and stderr, and how often the plugin was run.
func runPlugin(t *testing.T, script string) (code int, out string, runs int) {
	t.Helper()
	s := startSandbox(t)
	log := filepath.Join(t.TempDir(), "log")
	script = "#!/bin/sh\necho run >>" + log + "\nRUNS=$(wc -l <" + log + ")\nTOKEN=" + s.Token("admin") + "\n" + script
	path := kubeconfigOf(t, s, func(all *clientcmdapi.Config, _ *clientcmdapi.Cluster) {
		all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: writeFile(t, "plugin", script, 0o700),
			InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		}}
	})
	cmd := command(t, s, "--kubeconfig", path, "exec", "web", "-c", "web", "--", "echo", "done")
	text, _ := cmd.CombinedOutput()
	logged, err := os.ReadFile(log)
	if err != nil {
		t.Error(err)
	}
	return cmd.ProcessState.ExitCode(), string(text), strings.Count(string(logged), "run")
}

func TestNamedContainer_PluginFails(t *testing.T) {
	t.Parallel()
	code, out, runs := runPlugin(t, "exit 1\n")
	if want := `kshell: cannot get pod "web" in namespace "default": getting credentials: `; code != 255 ||
		!strings.HasPrefix(out, want) || runs != 1 {
		t.Errorf("exit code %d, %d runs of the plugin, output %s", code, runs, out)
	}
}

// The first token of the plugin is not accepted. Both requests are made again,
// after one more run.
func TestNamedContainer_RenewsCredentials(t *testing.T) {
	t.Parallel()
	code, out, runs := runPlugin(t, `[ "$RUNS" -gt 1 ] || TOKEN=expired
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$TOKEN"
`)
	if code != 0 || out != "done\n" || runs != 2 {
		t.Errorf("exit code %d, %d runs of the plugin, output %s", code, runs, out)
	}
}

// The server does not answer the request for the pod. The command runs
// nevertheless, and its input and its exit code are complete.
func TestNamedContainer_PodIsNotAnswered(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{
		Path: "/api/v1/namespaces/default/pods/web", WholePath: true, Do: sandbox.Hang, When: sandbox.AtRequest,
	})
	cmd := command(t, s, "exec", "-i", "web", "-c", "web", "--", "sh", "-c", "cat; exit 7")
	cmd.Env = append(cmd.Env, shortLimits+"=1") // kshell does not wait for the answer at the end
	cmd.Stdin = strings.NewReader("text")
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != 7 || string(out) != "text" {
		t.Errorf("exit code %d, output %s", got, out)
	}
}

// The container starts while kshell waits for it. No input is lost, although an
// attempt to run the command has failed before.
func TestNamedContainer_StartsLater(t *testing.T) {
	t.Parallel()
	for _, exact := range []string{"auto", "never"} {
		t.Run(exact, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			setStatus := func(set func(*corev1.PodStatus)) {
				t.Helper()
				if err := s.ChangePod("default", "web", func(p *corev1.Pod) { set(&p.Status) }); err != nil {
					t.Fatal(err)
				}
			}
			var running corev1.PodStatus
			setStatus(func(status *corev1.PodStatus) {
				running = *status.DeepCopy()
				*status = corev1.PodStatus{Phase: corev1.PodPending}
			})
			if exact != "never" { // then there is no attempt before the container runs
				s.Inject(sandbox.Fault{NotRunning: true, Times: 1})
			}
			cmd := command(t, s, "exec", "-i", "web", "-c", "web", "--exact", exact, "--", "cat")
			cmd.Stdin = strings.NewReader("text")
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stdout strings.Builder
			cmd.Stdout = &stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			messages := bufio.NewReader(stderr)
			if line, _ := messages.ReadString('\n'); !strings.HasPrefix(line, "kshell: waiting (up to ") {
				t.Errorf("got %q, want the reason of the wait", line)
			}
			setStatus(func(status *corev1.PodStatus) { *status = running })
			rest, _ := io.ReadAll(messages)
			if err := cmd.Wait(); err != nil || stdout.String() != "text" {
				t.Errorf("%v, output %q, %s", err, stdout.String(), rest)
			}
		})
	}
}
