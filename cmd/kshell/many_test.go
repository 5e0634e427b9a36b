package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/outcome"
	"kshell/internal/pod"
)

func TestManyPodsAreAskedForOnPurpose(t *testing.T) {
	const help = "kshell exec --help"
	tests := []struct {
		name string
		args []string
		want errorText
	}{
		{"-l alone", []string{"-l", "app=web", "--", "ls"}, errorText{"-l finds several pods: which of them is meant?", "add --all to run a command in all of them"}},
		{"nothing named", []string{"--all", "--", "ls"}, errorText{"all of which pods? --all needs TYPE/NAME or -l LABEL=VALUE", help}},
		{"an empty selector", []string{"--all", "-l", " ", "--", "ls"}, errorText{"all of which pods? --all needs TYPE/NAME or -l LABEL=VALUE", help}},
		{"an empty name", []string{"--all", "", "--", "ls"}, errorText{"", ""}},
		{"both", []string{"--all", "-l", "a", "web", "--", "ls"}, errorText{"-l and web cannot be used together", help}},
		{"no command", []string{"--all", "deploy/web"}, errorText{"--all needs a command: a shell is for one pod", "put -- COMMAND behind it"}},
		{"a tty", []string{"--all", "-it", "deploy/web", "--", "ls"}, errorText{"--all has no tty: the lines of several pods come out of it", "leave -t out"}},
		{"none at a time", []string{"--all", "--max-parallel", "0", "deploy/web", "--", "ls"}, errorText{"--max-parallel 0 runs nothing", help}},
		{"an unknown output", []string{"--all", "-o", "yaml", "deploy/web", "--", "ls"}, errorText{`unknown --output "yaml"`, "one of text, json"}},
		{"folded JSON", []string{"--all", "-o", "json", "--fold", "deploy/web", "--", "ls"}, errorText{"--fold is for people, --output json for programs: they do not go together", help}},
		{"--fold alone", []string{"--fold", "deploy/web", "--", "ls"}, errorText{"--fold is for several pods: it needs --all", help}},
		{"--output alone", []string{"-o", "json", "web", "--", "ls"}, errorText{"--output is for several pods: it needs --all", help}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := planOf(t, onTerminal, tt.args...)
			if tt.want.Message != "" {
				got := errorTextOf(err)
				got.Hint = strings.TrimSuffix(got.Hint, ", or --pick to choose one") // where there is such a flag
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("words and hint (-want +got):\n%s", diff)
				}
			}
			if outcome.Classify(err).ExitCode != outcome.ExitUsage {
				t.Errorf("exit code %d (%v), want %d", outcome.Classify(err).ExitCode, err, outcome.ExitUsage)
			}
		})
	}
}

func TestThePlanForManyPods(t *testing.T) {
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
