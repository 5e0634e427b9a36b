package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

var (
	onTerminal = terminals{in: true, out: true}
	inPipe     = terminals{out: true}
	outPipe    = terminals{in: true}
	pipes      = terminals{}

	web        = pod.Target{Kind: "pod", Name: "web"}
	everything = []string{
		"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "base64.channel.k8s.io", "channel.k8s.io",
	}
	// Exact mode without flags: for a command with a tty, with a typed input, with any other.
	byTTY = exactPlan{mode: exactNever}
	typed = exactPlan{mode: exactAuto}
	piped = exactPlan{mode: exactAuto, whole: true}

	ending5 = []string{"v5.channel.k8s.io"}
	noTTY   = []string{"stdin is not a terminal: running without a tty"}
	needsI  = []string{"-t needs -i: running without a tty"}
)

// planOf parses a command line as the program does.
func planOf(t *testing.T, local terminals, args ...string) (*execPlan, error) {
	t.Helper()
	var f execFlags
	cmd := f.command(nil)
	(&cobra.Command{Use: "kshell"}).AddCommand(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return planExec(cmd, f, cmd.Flags().Args(), local)
}

// inPlans may be compared, though they are private.
var inPlans = cmp.AllowUnexported(execPlan{}, narrowed{}, exactPlan{}, scriptFlags{}, surroundings{}, liveFlags{})

func TestACommandLineMeansWhatItMeansToKubectl(t *testing.T) {
	tests := []struct {
		name  string
		local terminals
		args  []string
		want  execPlan
	}{
		{
			"a command", onTerminal,
			[]string{"web", "--", "ls", "-l"},
			execPlan{exact: typed, target: web, command: []string{"ls", "-l"}, offer: everything},
		},
		{
			"what follows -- is the command's, flags and further -- too", onTerminal,
			[]string{"web", "--", "ls", "-it", "-c", "x", "--", "--help"},
			execPlan{exact: typed, target: web, command: []string{"ls", "-it", "-c", "x", "--", "--help"}, offer: everything},
		},
		{
			"an empty argument is one", onTerminal,
			[]string{"web", "--", "printf", "", "a b"},
			execPlan{exact: typed, target: web, command: []string{"printf", "", "a b"}, offer: everything},
		},
		{
			"flags before the pod and after it", onTerminal,
			[]string{"-i", "web", "-c", "app", "--", "cat"},
			execPlan{exact: typed, target: web, container: "app", command: []string{"cat"}, stdin: true, offer: everything},
		},
		{
			"a workload", pipes,
			[]string{"deploy/web", "--", "ps"},
			execPlan{exact: piped, target: pod.Target{Kind: "deployment", Name: "web"}, command: []string{"ps"}, offer: everything},
		},
		{
			"a manifest in place of a pod", pipes,
			[]string{"-f", "x.yaml", "--", "ps"},
			execPlan{exact: piped, manifest: "x.yaml", command: []string{"ps"}, offer: everything},
		},
		{
			"a shell in the pod of a manifest", onTerminal,
			[]string{"-f", "x.yaml"},
			execPlan{exact: byTTY, manifest: "x.yaml", stdin: true, tty: true, offer: everything},
		},
		{
			"no command, on a terminal: a shell", onTerminal,
			[]string{"web"},
			execPlan{exact: byTTY, target: web, stdin: true, tty: true, offer: everything},
		},
		{
			"nothing after --, on a terminal: a shell", onTerminal,
			[]string{"web", "--"},
			execPlan{exact: byTTY, target: web, stdin: true, tty: true, offer: everything},
		},
		{
			"-it and a command, on a terminal", onTerminal,
			[]string{"-it", "web", "--", "vi"},
			execPlan{exact: byTTY, target: web, command: []string{"vi"}, stdin: true, tty: true, offer: everything},
		},
		{
			"-it with the output into a file still has a tty", outPipe,
			[]string{"-it", "web", "--", "vi"},
			execPlan{exact: byTTY, target: web, command: []string{"vi"}, stdin: true, tty: true, offer: everything},
		},
		{
			"-i on a terminal: input that need not end", onTerminal,
			[]string{"-i", "web", "--", "cat"},
			execPlan{exact: typed, target: web, command: []string{"cat"}, stdin: true, offer: everything},
		},
		{
			"-i from a pipe: an input that ends", inPipe,
			[]string{"-i", "web", "--", "cat"},
			execPlan{exact: piped, target: web, command: []string{"cat"}, stdin: true, offer: everything, narrowed: narrowed{ends: true}},
		},
		{
			"-it from a pipe: no tty, said once", inPipe,
			[]string{"-it", "web", "--", "cat"},
			execPlan{exact: piped, target: web, command: []string{"cat"}, stdin: true, offer: everything, narrowed: narrowed{ends: true}, warnings: noTTY},
		},
		{
			"-t without -i: no tty, said once", onTerminal,
			[]string{"-t", "web", "--", "ls"},
			execPlan{exact: typed, target: web, command: []string{"ls"}, offer: everything, warnings: needsI},
		},
		{
			"-t without -i from a pipe: one warning, not two", pipes,
			[]string{"-t", "web", "--", "ls"},
			execPlan{exact: piped, target: web, command: []string{"ls"}, offer: everything, warnings: needsI},
		},
		{
			"a narrower offer", pipes,
			[]string{"--subprotocol", "base64.channel.k8s.io,v4.channel.k8s.io", "web", "--", "ls"},
			execPlan{exact: piped, target: web, command: []string{"ls"}, offer: []string{"base64.channel.k8s.io", "v4.channel.k8s.io"}, narrowed: narrowed{asked: true}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := planOf(t, tt.local, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.path = "kshell exec"
			tt.want.script.statusFD, tt.want.scripted, tt.want.running = noFD, true, runningTimeout
			tt.want.live = liveFlags{keepalive: 10 * time.Second, escape: "~", reconnect: reconnectAuto, reconnectTimeout: 10 * time.Minute, connectTimeout: connectTimeoutDefault}
			if diff := cmp.Diff(&tt.want, got, inPlans); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMistakenCommandLineIsExplained(t *testing.T) {
	const types = "the types are pod (po), deployment (deploy), replicaset (rs), statefulset (sts), daemonset (ds), job, " +
		"replicationcontroller (rc), service (svc)"
	tests := []struct {
		name  string
		local terminals
		args  []string
		want  errorText
		code  int
	}{
		{
			"no pod",
			terminals{},
			nil,
			errorText{"no pod is specified", "kshell exec (POD | TYPE/NAME) -- COMMAND; on a terminal kshell exec lists the pods"},
			outcome.ExitUsage,
		},
		{
			"only a command",
			terminals{in: true},
			[]string{"--", "ls"},
			errorText{"no pod is specified", "kshell exec (POD | TYPE/NAME) -- COMMAND; on a terminal kshell exec lists the pods"},
			outcome.ExitUsage,
		},
		{
			"an unknown type", onTerminal,
			[]string{"cronjob/web", "--", "ls"},
			errorText{`type "cronjob" is not supported`, types},
			outcome.ExitUsage,
		},
		{
			"no command, input not from a terminal", inPipe,
			[]string{"web"},
			errorText{"no command was named, and a shell needs a terminal at both stdin and stdout", "kshell exec web -- COMMAND"},
			outcome.ExitUsage,
		},
		{
			"no command, output not to a terminal", outPipe,
			[]string{"-it", "web", "--"},
			errorText{"no command was named, and a shell needs a terminal at both stdin and stdout", "kshell exec web -- COMMAND"},
			outcome.ExitUsage,
		},
		{
			"an unknown subprotocol", onTerminal,
			[]string{"--subprotocol", "v5", "web", "--", "ls"},
			errorText{
				`unknown subprotocol "v5"`,
				"one of v5.channel.k8s.io, v4.channel.k8s.io, v4.base64.channel.k8s.io, base64.channel.k8s.io, channel.k8s.io",
			},
			outcome.ExitUsage,
		},
		{
			"an exact mode that is none", inPipe,
			[]string{"--exact=maybe", "web", "--", "ls"},
			errorText{`unknown --exact "maybe"`, "one of auto, always, never"},
			outcome.ExitUsage,
		},
		{
			"exact mode on a tty", onTerminal,
			[]string{"--exact=always", "-it", "web", "--", "ls"},
			errorText{"--exact=always is for commands without a tty", "kshell exec --help"},
			outcome.ExitUsage,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := planOf(t, tt.local, tt.args...)
			if err == nil {
				t.Fatalf("no error, but the plan %+v", plan)
			}
			if diff := cmp.Diff(tt.want, errorTextOf(err)); diff != "" {
				t.Errorf("words and hint (-want +got):\n%s", diff)
			}
			if got := outcome.Classify(err).ExitCode; got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
		})
	}
}

// A forgotten -- is the most frequent mistake: kubectl used to allow it.
func TestAForgottenDashDashIsPointedOut(t *testing.T) {
	tests := []struct {
		args []string
		hint string
	}{
		{[]string{"web", "ls"}, "put -- between the two, and all flags of kshell before it: kshell exec [FLAGS] web -- ls ..."},
		{[]string{"web", "ls", "/tmp"}, "put -- between the two, and all flags of kshell before it: kshell exec [FLAGS] web -- ls ..."},
		{[]string{"web", "ls", "--", "-l"}, "put -- between the two, and all flags of kshell before it: kshell exec [FLAGS] web -- ls ..."},
	}
	for _, tt := range tests {
		_, err := planOf(t, onTerminal, tt.args...)
		if diff := cmp.Diff(errorText{"a command is separated from the pod by --", tt.hint}, errorTextOf(err)); diff != "" {
			t.Errorf("%q: words and hint (-want +got):\n%s", tt.args, diff)
		}
		if outcome.Classify(err).ExitCode != outcome.ExitUsage {
			t.Errorf("%q: exit code %d, want %d", tt.args, outcome.Classify(err).ExitCode, outcome.ExitUsage)
		}
	}
}

func TestOffer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wanted []string
		want   []string
	}{
		{"everything, best first", nil, everything},
		{"in the order asked for", []string{stream.Channel, stream.V5}, []string{stream.Channel, stream.V5}},
	} {
		got, err := offer(tt.wanted)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v, offer (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

func TestATTYIsGivenUpOnlyWhereThereIsNone(t *testing.T) {
	tests := []struct {
		name       string
		stdin, tty bool
		local      terminals
		want       bool
		warnings   []string
	}{
		{"asked for and there", true, true, onTerminal, true, nil},
		{"the output is a file", true, true, outPipe, true, nil},
		{"the input is a pipe", true, true, inPipe, false, noTTY},
		{"no input asked for", false, true, onTerminal, false, needsI},
		{"neither", false, true, pipes, false, needsI},
		{"not asked for", true, false, onTerminal, false, nil},
		{"not asked for, a pipe", true, false, inPipe, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := execPlan{stdin: tt.stdin, tty: tt.tty}
			got.settleTTY(tt.local)
			want := execPlan{stdin: tt.stdin, tty: tt.want, warnings: tt.warnings}
			if diff := cmp.Diff(want, got, inPlans); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}
