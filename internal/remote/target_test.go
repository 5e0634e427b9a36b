package remote

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/stream"
)

func TestTargetExec(t *testing.T) {
	all, v5 := stream.Protocols(), []string{stream.V5}
	tests := []struct {
		name   string
		target Target
		got    func(Target) stream.Request
		want   stream.Request
	}{
		{
			"a tty has no stderr",
			Target{Namespace: "default", Pod: "web", Container: "app"},
			func(t Target) stream.Request { return t.Exec([]string{"sh", "-c", "a b"}, true, true, all) },
			stream.Request{Path: "/api/v1/namespaces/default/pods/web/exec", Protocols: all, Query: url.Values{
				"command": {"sh", "-c", "a b"}, "container": {"app"},
				"stdin": {"true"}, "stdout": {"true"}, "stderr": {"false"}, "tty": {"true"},
			}},
		},
		{
			"the server chooses the container",
			Target{Namespace: "other", Pod: "web"},
			func(t Target) stream.Request { return t.Exec([]string{"ls"}, false, false, v5) },
			stream.Request{Path: "/api/v1/namespaces/other/pods/web/exec", Protocols: v5, Query: url.Values{
				"command": {"ls"}, "stdin": {"false"}, "stdout": {"true"}, "stderr": {"true"}, "tty": {"false"},
			}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.got(tt.target)); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}
