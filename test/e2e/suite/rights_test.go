package suite

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"kshell/internal/stream"
	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

// allTokens returns the tokens of all users that have one, each as plain text
// and in the two base64 encodings that a header may contain.
func allTokens(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, user := range harness.Users() {
		cfg, err := cluster.Config(user, harness.MainServer)
		must(t, err)
		if cfg.BearerToken != "" {
			all = append(all, cfg.BearerToken, base64.StdEncoding.EncodeToString([]byte(cfg.BearerToken)),
				base64.RawURLEncoding.EncodeToString([]byte(cfg.BearerToken)))
		}
	}
	if len(all) < 3*5 {
		t.Fatalf("only %d tokens", len(all)/3)
	}
	return all
}

func TestRights_Exec(t *testing.T) {
	inCI(t)
	secrets := allTokens(t)
	const (
		lacks = `not allowed in namespace "default": `
		find  = "get deployments.apps; list pods"
		add   = "hint: ask an administrator to type this line"
	)
	cases := []struct {
		user, target string
		out          string
		err          []string
		code         int
	}{
		{
			harness.DevNone,
			"web",
			"",
			[]string{
				lacks + "get and create pods/exec\n",
				"kubectl create role kshell --verb=get,create --resource=pods/exec -n default",
			},
			255,
		},
		{
			harness.DevNone,
			"deploy/web",
			"",
			[]string{lacks + find + "; get and create pods/exec\n", add},
			255,
		},
		{
			harness.DevNone,
			"no-such-pod",
			"",
			[]string{lacks + "get and create pods/exec\n"},
			255,
		}, // the message does not reveal whether the pod exists
		{
			harness.DevGet,
			"web",
			"",
			[]string{
				lacks + "create pods/exec\n",
				"kubectl create role kshell --verb=create --resource=pods/exec -n default",
			},
			255,
		},
		{harness.DevGet, "deploy/web", "", []string{lacks + find + "; create pods/exec\n", add}, 255},
		{harness.DevGet, "no-such-pod", "", []string{`pod "no-such-pod" does not exist`, "hint: "}, 255},
		{harness.DevCreate, "web", "hi\n", nil, 0}, // over SPDY
		{harness.DevCreate, "deploy/web", "", []string{lacks + find + "; get pods/exec\n", add}, 255},
		{harness.DevExec, "web", "hi\n", nil, 0},
		{harness.DevExec, "pod/web", "hi\n", nil, 0},
		{harness.DevExec, "deploy/web", "", []string{lacks + find + "\n", add}, 255},
		{harness.DevExec, "no-such-pod", "", []string{`pod "no-such-pod" does not exist`, "hint: "}, 255},
		{harness.DevExecOnly, "web", "hi\n", nil, 0},
		{harness.DevExecOnly, "pod/web", "hi\n", nil, 0},
		{harness.DevExecOnly, "no-such-pod", "", []string{`pods "no-such-pod" not found`}, 255},
		{harness.DevExecOnly, "deploy/web", "", []string{lacks + find + "\n", add}, 255},
	}
	onEach(t, func(t *testing.T, p contract.Program) {
		for _, c := range cases {
			t.Run(c.user+" "+strings.ReplaceAll(c.target, "/", "-"), func(t *testing.T) {
				checkResult(t, p.Run(t, nil, "--context", c.user, "exec", c.target, "--", "echo", "hi"), c.out, c.err, c.code)
				r := p.Run(t, nil, "--context", c.user, "exec", "-v", "-v", "-v", c.target, "--", "echo", "hi")
				if r.Code != c.code || r.Out != c.out {
					t.Errorf("with -v: code %d, stdout %q", r.Code, r.Out)
				}
				for _, secret := range secrets {
					if strings.Contains(r.Out+r.Err, secret) {
						t.Errorf("a token is shown: %s", r.Err)
					}
				}
			})
		}
		t.Run("another namespace", func(t *testing.T) {
			r := p.Run(t, nil, "--context", harness.DevExec, "exec", "-n", "kube-system", "web", "--", "true")
			checkResult(
				t,
				r,
				"",
				[]string{
					`not allowed in namespace "kube-system": get and create pods/exec`,
					"--resource=pods/exec -n kube-system",
				},
				255,
			)
		})
		t.Run("a token from the command line is not shown", func(t *testing.T) {
			r := p.Run(t, nil, "--context", harness.DevNone, "--token", "s3cr3t-t0k3n", "exec", "-v", "-v", "-v", "web", "--",
				"true")
			if r.Code != 255 || !strings.Contains(r.Err, "Unauthorized") || strings.Contains(r.Out+r.Err, "s3cr3t") {
				t.Errorf("%+v", r)
			}
		})
	})
}

// A user that may not get the pod is shown the server's message, because kshell
// has only the rights of the user and so cannot get the pod.
func TestRights_ServerMessage(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		for _, c := range []struct {
			name string
			args []string
			out  string
			err  []string
			code int
		}{
			{"the container is named", []string{"multi", "-c", "b"}, "hi\n", nil, 0},
			{"a sidecar", []string{"with-init", "-c", "sidecar"}, "hi\n", nil, 0},
			{"several containers", []string{"multi"}, "", []string{"choose one of: [a b]"}, 255},
			{"no such container", []string{"multi", "-c", "x"}, "", []string{"container x is not valid for pod multi"}, 255},
			{
				"waits for an init container",
				[]string{"initializing"},
				"",
				[]string{`container not found ("main")`, "hint: the container is not running"},
				255,
			},
			{
				"init container finished",
				[]string{"with-init", "-c", "init"},
				"",
				[]string{`container not found ("init")`, "hint: "},
				255,
			},
			{"pod completed", []string{"completed"}, "", []string{`container not found ("completed")`, "hint: "}, 255},
			{"not scheduled", []string{"pending"}, "", []string{"pod pending does not have a host assigned"}, 255},
		} {
			t.Run(c.name, func(t *testing.T) {
				args := append([]string{"--context", harness.DevExecOnly, "exec"}, c.args...)
				checkResult(t, p.Run(t, nil, append(args, "--", "echo", "hi")...), c.out, c.err, c.code)
			})
		}
	})
}

// The rule in the hint is necessary and sufficient.
func TestRights_HintedRule(t *testing.T) {
	notInCI(t)
	const nobody = "suite-nobody"
	runAs := func(target string) contract.Result {
		return program(cluster.Kubeconfig()).Run(t, nil, "--as", nobody, "exec", "-q", target, "--", "echo", "hi")
	}
	for _, target := range []string{"web", "deploy/web", "svc/web"} {
		t.Run(strings.ReplaceAll(target, "/", "-"), func(t *testing.T) {
			r := runAs(target)
			_, line, ok := strings.Cut(r.Err, ": kubectl ")
			if r.Code != 255 || !ok {
				t.Fatalf("without any right: %+v", r)
			}
			run := func(args ...string) {
				t.Helper()
				if made := kubectl().Run(t, nil, args...); made.Code != 0 {
					t.Fatalf("kubectl %q: %+v", args, made)
				}
			}
			defer func() {
				eventually(t, "the right is gone", func(context.Context) (bool, error) { return runAs(target).Code == 255, nil })
			}()
			for command := range strings.SplitSeq("kubectl "+strings.TrimSpace(line), " && ") {
				args := strings.Fields(strings.TrimPrefix(command, "kubectl "))
				run(args...)
				defer run("delete", args[1], args[2], "-n", harness.Namespace)
			}
			eventually(t, "the rule is enough", func(context.Context) (bool, error) {
				if r := runAs(target); r.Code != 0 || r.Out != "hi\n" {
					return false, errors.New(r.Err)
				}
				return true, nil
			})
		})
	}
}

// The command in the hint must check the subresource: `kubectl auth can-i
// create pods/exec` checks the right for a pod named exec. The hint is shown to
// users that may not query their own rights, such as those outside the group
// system:authenticated.
func TestRights_HintedCommand(t *testing.T) {
	notInCI(t)
	r := program(cluster.Kubeconfig()).Run(t, nil, "--as", "nobody", "--as-group", "system:unauthenticated",
		"exec", "web", "--", "true")
	found := regexp.MustCompile("type `kubectl (auth can-i [^`]*)`").FindStringSubmatch(r.Err)
	if found == nil {
		t.Fatalf("no command in the hint: %s", r.Err)
	}
	command := found[1]
	for user, want := range map[string]string{
		harness.DevNone: "no", harness.DevGet: "no", harness.DevExec: "yes", harness.DevExecOnly: "yes",
	} {
		args := append([]string{"--kubeconfig", cluster.Kubeconfig(), "--context", user}, strings.Fields(command)...)
		out, _ := exec.CommandContext(t.Context(), cluster.Kubectl(), args...).Output() // exit code 1: the answer is no
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("kubectl %s, as %s: %q, want %q", command, user, got, want)
		}
	}
}

func TestRights_Attach(t *testing.T) {
	inCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		for _, user := range []string{harness.DevNone, harness.DevGet, harness.DevExecOnly} {
			t.Run(user, func(t *testing.T) {
				err := attach(t, user, s, "pipe", "pipe", false).waitEnd(t)
				var refused *stream.HandshakeError
				if !errors.As(err, &refused) || refused.StatusCode != http.StatusForbidden ||
					!strings.Contains(err.Error(), "pods/attach") {
					t.Errorf("got %v (%T)", err, err)
				}
			})
		}
	})
}
