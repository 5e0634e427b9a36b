package fanout

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

func TestPodTargets_Titles(t *testing.T) {
	tests := []struct {
		name    string
		targets []remote.Target
		want    []string
	}{
		{
			"same container",
			[]remote.Target{{Pod: "a", Container: "x"}, {Pod: "b", Container: "x"}, {Pod: "c"}},
			[]string{"a", "b", "c"},
		},
		{
			"different containers",
			[]remote.Target{
				{Pod: "a", Container: "x"},
				{Pod: "b", Container: "y"},
				{Pod: "c"},
				{Pod: "d\x1b[2J", Container: "x"},
			},
			[]string{"a/x", "b/y", "c", `d\x1b[2J/x`},
		},
	}
	for _, tt := range tests {
		var commands []*podCommand
		for _, target := range tt.targets {
			commands = append(commands, newPodCommand(&Settings{}, target, nil))
		}
		var got []string
		for _, target := range podTargets(commands) {
			got = append(got, target.Title)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestPodCommands_SortedByNameWithNotesOnce(t *testing.T) {
	podNamed := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	running := []pod.Found{
		{Pod: podNamed("b"), Container: "x", Notes: []string{"note"}},
		{Pod: podNamed("d"), Container: "x", Notes: []string{"note"}},
	}
	skipped := []pod.Skipped{
		{Pod: podNamed("a"), Err: errors.New("a")},
		{Pod: podNamed("c"), Err: errors.New("c")},
		{Pod: podNamed("e"), Err: errors.New("e")},
	}
	var messages strings.Builder
	s := &Settings{Env: remote.Env{Notice: notice.New(&messages)}}
	var got []string
	for _, c := range podCommands(s, pod.Request{Container: "y"}, running, skipped) {
		line := c.target.Pod + " " + c.target.Container
		if c.err != nil {
			line += ": " + c.err.Error()
		}
		got = append(got, line)
	}
	if diff := cmp.Diff([]string{"a y: a", "b x", "c y: c", "d x", "e y: e"}, got); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	if messages.String() != "kshell: note\n" {
		t.Errorf("messages %q, want the note once", &messages)
	}
}
