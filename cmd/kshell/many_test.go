package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/outcome"
	"kshell/internal/pod"
)

func TestManyFlags_Errors(t *testing.T) {
	const help = "kshell exec --help"
	tests := []struct {
		name string
		args []string
		want errorText
	}{
		{
			"-l alone",
			[]string{"-l", "app=web", "--", "ls"},
			errorText{
				"-l may select several pods, but the command runs in one",
				"add --all to run a command in all of them, or --pick to choose one",
			},
		},
		{
			"no pods",
			[]string{"--all", "--", "ls"},
			errorText{"--all needs TYPE/NAME or -l LABEL=VALUE", help},
		},
		{
			"empty selector",
			[]string{"--all", "-l", " ", "--", "ls"},
			errorText{"--all needs TYPE/NAME or -l LABEL=VALUE", help},
		},
		{
			"empty name",
			[]string{"--all", "", "--", "ls"},
			errorText{`"" lacks the name of a pod`, "type POD or TYPE/NAME, such as pod/web"},
		},
		{
			"selector and name",
			[]string{"--all", "-l", "a", "web", "--", "ls"},
			errorText{"-l and web cannot be used together", help},
		},
		{
			"no command",
			[]string{"--all", "deploy/web"},
			errorText{"--all needs a command: a shell can be opened in one pod only", "add -- COMMAND"},
		},
		{
			"tty",
			[]string{"--all", "-it", "deploy/web", "--", "ls"},
			errorText{"--all and -t cannot be used together: a tty can be used with one pod only", "omit -t"},
		},
		{
			"--max-parallel 0",
			[]string{"--all", "--max-parallel", "0", "deploy/web", "--", "ls"},
			errorText{"--max-parallel must be at least 1, got 0", help},
		},
		{
			"unknown output",
			[]string{"--all", "-o", "yaml", "deploy/web", "--", "ls"},
			errorText{`unknown --output "yaml"`, "one of text, json"},
		},
		{
			"--fold with JSON",
			[]string{"--all", "-o", "json", "--fold", "deploy/web", "--", "ls"},
			errorText{"--fold and --output json cannot be used together", help},
		},
		{"--fold alone", []string{"--fold", "deploy/web", "--", "ls"}, errorText{"--fold needs --all", help}},
		{"--output alone", []string{"-o", "json", "web", "--", "ls"}, errorText{"--output needs --all", help}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := planOf(t, onTerminal, tt.args...)
			if diff := cmp.Diff(tt.want, errorTextOf(err)); diff != "" {
				t.Errorf("message and hint (-want +got):\n%s", diff)
			}
			if outcome.Classify(err).ExitCode != outcome.ExitUsage {
				t.Errorf("exit code %d (%v), want %d", outcome.Classify(err).ExitCode, err, outcome.ExitUsage)
			}
		})
	}
}

func TestPlanExec_Many(t *testing.T) {
	p, err := planOf(t, pipes, "-l", "app=web", "--all", "--max-parallel", "3", "--fold", "--", "ls", "-l")
	if err != nil {
		t.Fatal(err)
	}
	want := &manyPlan{selector: "app=web", parallel: 3, fold: true}
	if diff := cmp.Diff(want, p.many, cmp.AllowUnexported(manyPlan{})); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ls", "-l"}, p.command); diff != "" || p.target != (pod.Target{}) {
		t.Errorf("target %v, command (-want +got):\n%s", p.target, diff)
	}
	p, err = planOf(t, pipes, "deploy/web", "--all", "-o", "json", "--", "ls")
	if err != nil {
		t.Fatal(err)
	}
	if want := (&manyPlan{parallel: 10, json: true}); *p.many != *want || p.target.Name != "web" {
		t.Errorf("plan %+v for %v, want %+v", p.many, p.target, want)
	}
}
