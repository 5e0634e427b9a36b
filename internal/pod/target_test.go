package pod

import (
	"errors"
	"strings"
	"testing"
)

func TestParseTarget_KindNames(t *testing.T) {
	tests := map[string][]string{
		"pod": {"web", "po/web", "pod/web", "pods/web", "POD/web", "pods.v1./web"},
		"deployment": {
			"deploy/web",
			"deployment/web",
			"deployments/web",
			"deployments.apps/web",
			"deploy.apps/web",
			"deployments.v1.apps/web",
		},
		"replicaset":            {"rs/web", "replicaset/web", "replicasets/web", "replicasets.apps/web"},
		"statefulset":           {"sts/web", "statefulset/web", "statefulsets/web", "sts.apps/web"},
		"daemonset":             {"ds/web", "daemonset/web", "daemonsets/web", "ds.v1.apps/web"},
		"job":                   {"job/web", "jobs/web", "jobs.batch/web", "jobs.v1.batch/web"},
		"replicationcontroller": {"rc/web", "replicationcontroller/web", "replicationcontrollers/web"},
		"service":               {"svc/web", "service/web", "services/web", "Service/web"},
	}
	for kind, args := range tests {
		for _, arg := range args {
			if got, err := ParseTarget(arg); err != nil || got != (Target{kind, "web"}) {
				t.Errorf("ParseTarget(%q) = %v, %v; want %s/web", arg, got, err, kind)
			}
		}
	}
	if got, err := ParseTarget("web-0.shard.1"); err != nil || got != (Target{"pod", "web-0.shard.1"}) {
		t.Errorf("name with dots: got %v, %v", got, err)
	}
}

func TestParseTarget_Errors(t *testing.T) {
	tests := []struct{ arg, text, hint string }{
		{"cronjob/web", `type "cronjob" is not supported`, "pod (po), deployment (deploy), "},
		{"deploy.batch/web", `"deploy.batch"`, "the types are"},
		{"/web", `type ""`, "the types are"},
		{"deploy/", `"deploy/" lacks the name of a deployment`, "deployment/web"},
		{"", "lacks the name of a pod", "TYPE/NAME"},
		{"pod/a/b", `"a/b" is not a valid name of a pod`, "TYPE/NAME"},
		{"..", `".." is not a valid name`, "TYPE/NAME"},
		{"Web_1", `"Web_1" is not a valid name`, "a-z"},
		{"a\x1b[2J", `"a\x1b[2J" is not a valid name`, "a-z"},
	}
	for _, test := range tests {
		_, err := ParseTarget(test.arg)
		var e *TargetError
		if !errors.As(err, &e) {
			t.Errorf("ParseTarget(%q): got %v, want a *TargetError", test.arg, err)
			continue
		}
		if !strings.Contains(e.Error(), test.text) || !strings.Contains(e.Hint(), test.hint) {
			t.Errorf("ParseTarget(%q): got %q, hint %q; want %q, hint %q", test.arg, e, e.Hint(), test.text, test.hint)
		}
	}
}

func TestParseTarget_UnsupportedType(t *testing.T) {
	for arg, want := range map[string]Target{"Node/worker-1": {"Node", "worker-1"}, "a/b/c": {"a", "b/c"}, "Web_1": {}} {
		_, err := ParseTarget(arg)
		var e *TargetError
		if !errors.As(err, &e) || (Target{e.Type, e.Name}) != want {
			t.Errorf("ParseTarget(%q): got %#v, want %v", arg, err, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"web", "deploy/web", "a/../b", "svc/%2e", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		target, err := ParseTarget(arg)
		if err != nil {
			return
		}
		if again, err := ParseTarget(target.String()); err != nil || again != target {
			t.Errorf("%q gave %v, which gives %v, %v", arg, target, again, err)
		}
		if strings.ContainsAny(target.Name, "/%?#\\ ") || target.Name == ".." {
			t.Errorf("%q gave the name %q", arg, target.Name)
		}
	})
}
