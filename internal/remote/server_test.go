package remote

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kshell/internal/headlamp"
	"kshell/internal/notice"
)

func TestRefusedRetrier(t *testing.T) {
	refusal := &headlamp.Refusal{Kind: headlamp.APIServerDown, Cluster: "prod"}
	synctest.Test(t, func(t *testing.T) {
		var printed bytes.Buffer
		env := Env{Notice: notice.New(&printed), Server: new(ServerState)}
		env.Limits = env.Limits.withDefaults()
		r := &refusedRetrier{env: env, limit: 10 * time.Second}
		count := func(ctx context.Context) (attempts int) {
			for r.Retry(ctx, refusal) {
				attempts++
			}
			return attempts
		}
		begin := time.Now()
		if n, took := count(t.Context()), time.Since(begin); n != 10 || took != 10*time.Second {
			t.Errorf("%d attempts in %v", n, took)
		}
		if n := count(t.Context()); n != 0 {
			t.Errorf("%d attempts after the limit", n)
		}
		r.Answered()
		if n := count(t.Context()); n != 10 {
			t.Errorf("%d attempts after an answer", n)
		}
		r.Answered()
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if n := count(canceled); n != 0 {
			t.Errorf("%d attempts after the end of the context", n)
		}
		r.Answered()
		env.Server.started.Store(true)
		if n := count(t.Context()); n != 0 {
			t.Errorf("%d attempts after a command was started", n)
		}
		const want = `Headlamp cannot reach the API server of cluster "prod": trying again for up to 10s`
		if text := printed.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, want) {
			t.Errorf("printed %q", text)
		}
	})
}
