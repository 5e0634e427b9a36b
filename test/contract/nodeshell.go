package contract

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Nodes describes the nodes of a cluster, and an image from which all of them
// can be entered.
type Nodes struct {
	Image string
	Names []string // all nodes, sorted
	Init  string   // the name of the first process of a node; "" if a node shell cannot see that process
	// Restricted is a namespace that does not allow privileged pods. Namespace
	// is the namespace for the node shells of the test, and contains no other
	// node shells.
	Restricted, Namespace string
}

// args returns the arguments of node-shell, with the image and the namespace.
func (n Nodes) args(args ...string) []string {
	return append([]string{"node-shell", "--image", n.Image, "-n", n.Namespace}, args...)
}

// checkNoPods waits until there are no pods of node shells.
func (n Nodes) checkNoPods(t *testing.T, p Program) {
	t.Helper()
	var last Result
	for begin := time.Now(); time.Since(begin) < runTimeout/2; time.Sleep(200 * time.Millisecond) {
		last = p.Run(t, nil, "node-shell", "list", "-n", n.Namespace)
		if last.Code == 0 && last.Out == "" {
			return
		}
	}
	t.Errorf("pods are left: %+v", last)
}

// NodeShells checks kshell node-shell without a terminal.
func NodeShells(t *testing.T, p Program, n Nodes) {
	node := n.Names[0]
	t.Run("commands", func(t *testing.T) { nodeCommands(t, p, n) })
	if n.Init != "" {
		t.Run("the first process is the node's", func(t *testing.T) {
			if r := p.Run(t, nil, n.args(node, "--", "cat", "/proc/1/comm")...); r.Out != n.Init+"\n" || r.Code != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
	t.Run("many bytes keep their sum", func(t *testing.T) {
		const size = 20_000_000
		r := p.Run(t, nil, n.args("-q", node, "--", "head", "-c", fmt.Sprint(size), "/dev/zero")...)
		if sum := sha256.Sum256([]byte(r.Out)); sum != sha256.Sum256(make([]byte, size)) || r.Code != 0 {
			t.Errorf("%d bytes, exit code %d, stderr %q", len(r.Out), r.Code, r.Err)
		}
	})
	t.Run("an archive of the node's files keeps its sum", func(t *testing.T) {
		const script = `f=$(mktemp) && tar c /etc >"$f" 2>/dev/null; cat "$f" && sha256sum <"$f" >&2 && rm "$f"`
		r := p.Run(t, nil, n.args("-q", node, "--", "sh", "-c", script)...)
		if sum := fmt.Sprintf("%x  -\n", sha256.Sum256([]byte(r.Out))); r.Err != sum || r.Code != 0 ||
			!strings.Contains(r.Out, "etc/passwd") {
			t.Errorf("%d bytes, exit code %d, stderr %q, want %q", len(r.Out), r.Code, r.Err, sum)
		}
	})
	t.Run("nothing is left", func(t *testing.T) { n.checkNoPods(t, p) })
	t.Run("all nodes", func(t *testing.T) { manyNodes(t, p, n) })
	t.Run("Pod Security refuses", func(t *testing.T) {
		r := p.Run(t, nil, "node-shell", "--image", n.Image, "-n", n.Restricted, node, "--", "true")
		for _, words := range []string{
			`namespace "` + n.Restricted + `" enforces the Pod Security level "restricted"`, "hostPID=true",
			`restricted volume type "hostPath"`,
			"privileged", "hint: use another namespace with -n",
			"hint: `kubectl label namespace " + n.Restricted + " pod-security.kubernetes.io/enforce=privileged",
		} {
			if !strings.Contains(r.Err, words) {
				t.Errorf("stderr lacks %q: %s", words, r.Err)
			}
		}
		if r.Code != 255 || r.Out != "" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("the pod as it would be made", func(t *testing.T) {
		r := p.Run(t, nil, n.args("--dry-run", "-o", "yaml", "--ttl", "1h", node)...)
		for _, line := range []string{
			"kind: Pod\n", "\n  nodeName: " + node + "\n", "\n  hostPID: true\n", "\n      privileged: true\n",
			"\n  activeDeadlineSeconds: 3600\n",
		} {
			if !strings.Contains(r.Out, line) {
				t.Errorf("no %q in %s", line, r.Out)
			}
		}
		if r.Code != 0 {
			t.Errorf("%+v", r)
		}
		n.checkNoPods(t, p)
	})
	t.Run("left running, listed, and collected", func(t *testing.T) { detached(t, p, n) })
}

// nodeCommands checks the results of command lines.
func nodeCommands(t *testing.T, p Program, n Nodes) {
	node := n.Names[0]
	for _, c := range []struct {
		name string
		args []string
		in   string
		out  string
		err  []string
		code int
	}{
		{"it is the node's host name", []string{node, "--", "hostname"}, "", node + "\n", nil, 0},
		{"the node can be called a node", []string{"node/" + node, "--", "hostname"}, "", node + "\n", nil, 0},
		{"an exit code", []string{node, "--", "sh", "-c", "exit 42"}, "", "", nil, 42},
		{
			"streams stay apart",
			[]string{node, "--", "sh", "-c", "echo out; echo err >&2; exit 3"},
			"", "out\n",
			[]string{"err\n"},
			3,
		},
		{
			"input, and its end",
			[]string{"-i", node, "--", "sh", "-c", "wc -c; exit 5"},
			strings.Repeat("x", 100_000), "100000\n", nil, 5,
		},
		{"every byte value both ways", []string{"-i", node, "--", "cat"}, allBytes(), allBytes(), nil, 0},
		{"no input unless it is wanted", []string{node, "--", "wc", "-c"}, "abc", "0\n", nil, 0},
		{
			"arguments arrive as they are",
			[]string{node, "--", "printf", "[%s]", "a b", "", "*", "$HOME", "it's", `q"q`},
			"", "[a b][][*][$HOME][it's][q\"q]", nil, 0,
		},
		{"no such command", []string{node, "--", "no-such-command"}, "", "", []string{"no-such-command"}, 127},
		{"no tty", []string{node, "--", "sh", "-c", "tty || :"}, "", "not a tty\n", nil, 0},
		{
			"the node's files from the image",
			[]string{"--host-view", node, "--", "sh", "-c", `test -d "$KSHELL_HOST/etc" && echo there`},
			"", "there\n", nil, 0,
		},
		{
			"a time that runs out",
			[]string{"--timeout", "3s", node, "--", "sleep", "600"},
			"", "",
			[]string{"did not end within 3s"},
			124,
		},
		{
			"no such node",
			[]string{"no-such-node", "--", "true"},
			"", "",
			[]string{`there is no node "no-such-node"`, "hint: `kubectl get nodes`"},
			255,
		},
		{
			"no command without a terminal",
			[]string{node},
			"", "",
			[]string{"no command is specified", "hint: type `kshell node-shell " + node, " -- COMMAND`"},
			2,
		},
		{"which node?", []string{"--", "true"}, "", "", []string{"no node is specified"}, 2},
		{"a command without dashes", []string{node, "ls"}, "", "", []string{"separated from the node by --"}, 2},
		{
			"an unknown profile",
			[]string{"--profile", "god", node, "--", "true"},
			"", "",
			[]string{`unknown --profile "god"`, "hint: one of sysadmin"},
			2,
		},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			var in []byte
			if c.in != "" {
				in = []byte(c.in)
			}
			r := p.Run(t, in, n.args(c.args...)...)
			if strings.TrimSpace(r.Out) != strings.TrimSpace(c.out) || r.Code != c.code {
				t.Errorf("exit code %d, stdout %.300q; stderr %q", r.Code, r.Out, r.Err)
			}
			for _, words := range c.err {
				if !strings.Contains(r.Err, words) {
					t.Errorf("stderr lacks %q: %q", words, r.Err)
				}
			}
		})
	}
}

// manyNodes checks one command on all nodes.
func manyNodes(t *testing.T, p Program, n Nodes) {
	var want, folded strings.Builder
	for _, name := range n.Names {
		fmt.Fprintf(&want, "%s: %s\n", name, name)
	}
	r := p.Run(t, nil, n.args("--all", "--max-parallel", "1", "--", "sh", "-c", "hostname; exit 4")...)
	if r.Out != want.String() || r.Code != 4 || strings.Count(r.Err, "  exited\n") != len(n.Names) {
		t.Errorf("%+v", r)
	}
	r = p.Run(t, nil, n.args("-l", "kubernetes.io/hostname="+n.Names[1], "--all", "--", "hostname")...)
	if r.Out != n.Names[1]+": "+n.Names[1]+"\n" || r.Code != 0 {
		t.Errorf("%+v", r)
	}
	fmt.Fprintf(&folded, "----------------\n%s\n----------------\nsame\n", strings.Join(n.Names, ", "))
	if r = p.Run(t, nil, n.args("--all", "--fold", "--", "echo", "same")...); r.Out != folded.String() {
		t.Errorf("%+v", r)
	}
	r = p.Run(t, nil, n.args("--all", "-o", "json", "--", "echo", "hi")...)
	nodes := map[string]int{}
	for d := json.NewDecoder(strings.NewReader(r.Out)); d.More(); {
		var e struct{ Node string }
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%v: %q", err, r.Out)
		}
		nodes[e.Node]++
	}
	if len(nodes) != len(n.Names) || nodes[n.Names[0]] != 2 {
		t.Errorf("%+v", r)
	}
	if r = p.Run(t, nil, n.args("-l", "no=such", "--all", "--", "true")...); r.Code != 255 ||
		!strings.Contains(r.Err, "no node has the labels no=such") {
		t.Errorf("%+v", r)
	}
	n.checkNoPods(t, p)
}

// detached checks a shell that is left running: `node-shell list` shows it, and
// gc deletes it because of its age.
func detached(t *testing.T, p Program, n Nodes) {
	r := p.Run(t, nil, n.args("--detach", n.Names[0])...)
	if r.Code != 0 || !strings.Contains(r.Err, "is left running on node "+n.Names[0]) {
		t.Fatalf("%+v", r)
	}
	list := p.Run(t, nil, "node-shell", "list", "-n", n.Namespace)
	if fields := strings.Fields(strings.SplitN(list.Out+"\n\n", "\n", 3)[1]); len(fields) < 5 || fields[1] != n.Names[0] ||
		fields[2] != "shell" ||
		fields[3] != "Running" {
		t.Errorf("%+v", list)
	}
	gc := func(args ...string) string {
		t.Helper()
		r := p.Run(t, nil, append([]string{"node-shell", "gc", "-n", n.Namespace}, args...)...)
		if r.Code != 0 {
			t.Errorf("%+v", r)
		}
		return r.Out
	}
	if out := gc(); out != "" {
		t.Errorf("a shell that runs was collected: %s", out)
	}
	time.Sleep(1100 * time.Millisecond) // ages are in whole seconds
	if out := gc("--older-than", "1s", "--dry-run"); !strings.Contains(out, "would be deleted") {
		t.Errorf("--dry-run: %q", out)
	}
	if out := gc("--older-than", "1s"); !strings.Contains(out, "deleted") {
		t.Errorf("%q", out)
	}
	n.checkNoPods(t, p)
}
