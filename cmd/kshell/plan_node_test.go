package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"kshell/internal/node"
	"kshell/internal/outcome"
)

// planNodeOf parses the arguments of node-shell as the program does.
func planNodeOf(t *testing.T, local terminals, args ...string) (*nodePlan, error) {
	t.Helper()
	var f nodeFlags
	cmd := f.command(nil)
	(&cobra.Command{Use: "kshell"}).AddCommand(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return planNode(cmd, f, cmd.Flags().Args(), local)
}

func TestPlanNode(t *testing.T) {
	type plan struct {
		Node, Pod               string
		Attach, DryRun          bool
		Command                 []string
		Stdin, TTY              bool
		Shell, Detached         bool // of the pod
		Entry, CPU, Image, Team string
		Private                 node.Namespaces
	}
	shell := plan{Node: "worker-1", Stdin: true, TTY: true, Shell: true, CPU: "100m"}
	command := plan{Node: "worker-1", Command: []string{"ls", "-l"}, CPU: "100m"}
	with := func(p plan, change func(*plan)) plan {
		change(&p)
		return p
	}
	for name, test := range map[string]struct {
		local terminals
		args  []string
		want  plan
	}{
		"shell":     {onTerminal, []string{"worker-1"}, shell},
		"node/NODE": {onTerminal, []string{"node/worker-1"}, shell},
		"any node":  {onTerminal, nil, with(shell, func(p *plan) { p.Node = "" })},
		"command":   {pipes, []string{"worker-1", "--", "ls", "-l"}, command},
		"no log":    {onTerminal, []string{"--no-log", "worker-1"}, with(shell, func(p *plan) { p.Shell = false })},
		"detach":    {pipes, []string{"--detach", "worker-1"}, with(shell, func(p *plan) { p.Detached = true })},
		"attach":    {onTerminal, []string{"--attach"}, with(shell, func(p *plan) { p.Node, p.Attach = "", true })},
		"attach to POD": {onTerminal, []string{"--attach", "pod/x"}, with(shell, func(p *plan) {
			p.Node, p.Pod, p.Attach = "", "x", true
		})},
		"dry run": {
			pipes, []string{"--dry-run", "-o", "yaml", "worker-1"}, with(shell, func(p *plan) { p.DryRun = true }),
		},
		"pod": {
			pipes,
			[]string{
				"--chroot", "--no-net", "--image", "tools:1", "--cpu", "1", "--label", "team=a",
				"worker-1", "--", "ls", "-l",
			},
			with(command, func(p *plan) {
				p.Entry, p.CPU, p.Image, p.Team, p.Private.Net = node.Chroot, "1", "tools:1", "a", true
			}),
		},
	} {
		p, err := planNodeOf(t, test.local, test.args...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		o := p.options
		got := plan{
			Node: p.node, Pod: p.pod, Attach: p.attach, DryRun: p.dryRun,
			Command: p.exec.command, Stdin: p.exec.stdin, TTY: p.exec.tty, Shell: o.Shell, Detached: o.Detached,
			Entry: o.Entry, CPU: p.cpu, Image: o.Image, Team: o.Labels["team"], Private: o.Private,
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPlanNode_UsageErrors(t *testing.T) {
	const help = "kshell node-shell --help"
	for _, test := range []struct {
		local terminals
		args  []string
		want  errorText
	}{
		{pipes, []string{"pod/web", "--", "ls"}, errorText{`"pod/web" is not a node: use NODE or node/NODE`, help}},
		{pipes, []string{"worker-1"}, errorText{
			"no command is specified, and a shell needs a terminal at stdin and stdout",
			"type `kshell node-shell worker-1 -- COMMAND`",
		}},
		{pipes, []string{"--", "ls"}, errorText{
			"no node is specified",
			"type `kshell node-shell NODE -- COMMAND`; on a terminal, `kshell node-shell` lists the nodes",
		}},
		{pipes, []string{"--attach"}, errorText{"--attach needs a terminal at stdin and stdout", help}},
		{onTerminal, []string{"--attach", "--detach"}, errorText{
			"--attach continues a running shell: it cannot be used with --detach, --no-log, --all or a command", help,
		}},
		{onTerminal, []string{"--detach", "--no-log", "worker-1"}, errorText{
			"--detach leaves a shell running: it cannot be used with --no-log or a command", help,
		}},
		{pipes, []string{"--all", "worker-1", "--", "ls"}, errorText{
			"--all and the node worker-1 cannot be used together", help,
		}},
		{pipes, []string{"-l", "disk=ssd", "--", "ls"}, errorText{
			"-l may select several nodes", "add --all to run a command on all of them, or name one node",
		}},
		{pipes, []string{"--dry-run"}, errorText{"--dry-run needs a NODE", help}},
		{pipes, []string{"--chroot", "--host-view", "worker-1", "--", "ls"}, errorText{
			"--chroot and --host-view cannot be used together", help,
		}},
		{pipes, []string{"--profile", "root", "worker-1", "--", "ls"}, errorText{
			`unknown --profile "root"`, "one of sysadmin, general, netadmin",
		}},
		{pipes, []string{"--ttl", "1s", "worker-1", "--", "ls"}, errorText{
			"--ttl 1s is too short: the minimum is 1m", help,
		}},
		{pipes, []string{"--memory", "much", "worker-1", "--", "ls"}, errorText{
			`--memory "much" is not a quantity`, "--memory 256Mi",
		}},
		{pipes, []string{"--label", "=x", "worker-1", "--", "ls"}, errorText{
			`--label "=x" is not a valid label: use KEY=VALUE`, help,
		}},
		{pipes, []string{"--label", "app.kubernetes.io/name=x", "worker-1", "--", "ls"}, errorText{
			"--label app.kubernetes.io/name: kshell sets this label to recognize its own pods", help,
		}},
	} {
		_, err := planNodeOf(t, test.local, test.args...)
		if diff := cmp.Diff(test.want, errorTextOf(err)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.args, diff)
		}
		if code := outcome.Classify(err).ExitCode; code != outcome.ExitUsage {
			t.Errorf("%q: exit code %d, want %d", test.args, code, outcome.ExitUsage)
		}
	}
}

func TestTerminalEnv(t *testing.T) {
	got := terminalEnv([]string{"HOME=/root", "COLORTERM=truecolor", "TERM=xterm", "TERMINFO=x"})
	want := []corev1.EnvVar{{Name: "TERM", Value: "xterm"}, {Name: "COLORTERM", Value: "truecolor"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := terminalEnv([]string{"TERM="}); got != nil {
		t.Errorf("an empty TERM is passed: %v", got)
	}
}
