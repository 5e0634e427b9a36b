package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"kshell/internal/kinds"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// planWatchOf parses the arguments of watch as the program does.
func planWatchOf(t *testing.T, args ...string) (*watchPlan, error) {
	t.Helper()
	var f watchFlags
	cmd := f.command(nil)
	(&cobra.Command{Use: "kshell"}).AddCommand(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return planWatch(cmd, f, cmd.Flags().Args())
}

func mustPlanWatch(t *testing.T, args ...string) *watchPlan {
	t.Helper()
	p, err := planWatchOf(t, args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return p
}

func TestPlanWatch(t *testing.T) {
	type plan struct {
		Path, Name, Query, Format, Until string // Path is that in namespace dev
		Limit                            int
		Namespaces, Once                 bool
	}
	pods := plan{Path: "/api/v1/namespaces/dev/pods"}
	with := func(p plan, change func(*plan)) plan {
		change(&p)
		return p
	}
	for line, want := range map[string]plan{
		"pods":     pods,
		"po web":   with(pods, func(p *plan) { p.Name = "web" }),
		"pod/web":  with(pods, func(p *plan) { p.Name = "web" }),
		"pods -A":  {Path: "/api/v1/pods", Namespaces: true},
		"nodes -A": {Path: "/api/v1/nodes"},
		"pods -l a=b,c!=d --field-selector status.phase=Running": with(pods, func(p *plan) {
			p.Query = "fieldSelector=status.phase%3DRunning&labelSelector=a%3Db%2Cc%21%3Dd"
		}),
		"events":                                        {Path: "/api/v1/namespaces/dev/events", Limit: 50},
		"events --limit 0":                              {Path: "/api/v1/namespaces/dev/events"},
		"events --until deleted":                        {Path: "/api/v1/namespaces/dev/events", Until: "deleted"},
		"pods --limit 3 -o wide":                        with(pods, func(p *plan) { p.Limit, p.Format = 3, "wide" }),
		"pods --until ready":                            with(pods, func(p *plan) { p.Until = "ready" }),
		"pods --once -o json":                           with(pods, func(p *plan) { p.Once, p.Format = true, "json" }),
		"deployments.apps":                              {Path: "/apis/apps/v1/namespaces/dev/deployments"},
		"--raw /apis/a.b/v2/x":                          {Path: "/apis/a.b/v2/x", Namespaces: true},
		"--raw /api/v1/pods web":                        {Path: "/api/v1/pods", Name: "web", Namespaces: true},
		"--raw /api/v1/namespaces":                      {Path: "/api/v1/namespaces", Namespaces: true},
		"--raw /api/v1/namespaces/x/pods --until ready": {Path: "/api/v1/namespaces/x/pods", Until: "ready"},
	} {
		t.Run(line, func(t *testing.T) {
			p := mustPlanWatch(t, strings.Fields(line)...)
			got := plan{
				p.path("dev"), p.name, p.query().Encode(), p.format, p.until, p.limit, p.hasNamespaces(), p.once,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlanWatch_Usage(t *testing.T) {
	for line, want := range map[string]string{
		"":                             "no type of objects is specified",
		"widgets":                      `type "widgets" is not supported`,
		"pods web db":                  "more than one name",
		"pod/":                         "lacks the name of a pod",
		"pod/web db":                   `unexpected argument "db"`,
		"pods -l a=(":                  "is not a label selector",
		"pods --field-selector a":      "is not a field selector",
		"pods -o yaml":                 `unknown -o "yaml"`,
		"pods --until gone":            `unknown --until "gone"`,
		"events --until ready":         "events, which are never ready",
		"cronjobs --until ready":       "cronjobs, which are never ready",
		"pods --until ready --once":    "--until and --once",
		"pods --until ready --limit=1": "--until and --limit",
		"pods --limit -1":              "must not be negative",
		"pods web -l a=b":              "a name and -l",
		"pods web -A":                  "a name and -A",
		"--raw /version":               `--raw "/version" is not the path of a list`,
		"--raw /api/v1/pods a b":       `unexpected argument "b"`,
		"--raw /api/v1/pods -A":        "--raw and -A",
	} {
		t.Run(line, func(t *testing.T) {
			_, err := planWatchOf(t, strings.Fields(line)...)
			if err == nil || !strings.Contains(err.Error(), want) || outcome.Classify(err).ExitCode != outcome.ExitUsage {
				t.Errorf("got %v, want a usage error with %q", err, want)
			}
		})
	}
}

// TestPlanWatch_TypesOfExec checks that watch knows every type that exec knows.
func TestPlanWatch_TypesOfExec(t *testing.T) {
	for _, typ := range pod.CompleteType("") {
		want, err := pod.ListPath(typ, "dev")
		if err != nil {
			t.Fatal(err)
		}
		k, ok := kinds.Find(typ)
		if !ok || k.Path("dev") != want {
			t.Errorf("%s: got the path %q, want %q", typ, k.Path("dev"), want)
		}
	}
}

func TestWatch_HelpListsTypes(t *testing.T) {
	text := wholeHelpOf(t, "watch")
	for _, typ := range kinds.Complete("") {
		if !strings.Contains(text, typ) {
			t.Errorf("the help does not name %s", typ)
		}
	}
}

// watchTime is the time of the changes in tests.
var watchTime = time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)

// viewTest is a watchView that writes to a buffer.
type viewTest struct {
	*testing.T
	*watchView
	out bytes.Buffer
}

func newViewTest(t *testing.T, line string, clusters ...string) *viewTest {
	t.Helper()
	v := &viewTest{T: t}
	var all []watched
	for _, name := range clusters {
		all = append(all, watched{name: name})
	}
	plan := mustPlanWatch(t, strings.Fields(line)...)
	v.watchView = newWatchView(plan, all, &v.out, func() time.Time { return watchTime })
	return v
}

// podJSON returns a pod that was created an hour ago.
func podJSON(name string, version int, ready bool) string {
	condition := "False"
	if ready {
		condition = "True"
	}
	return fmt.Sprintf(`{"metadata":{"name":"%[1]s","namespace":"dev","uid":"u-%[1]s","resourceVersion":"%[2]d",`+
		`"creationTimestamp":"%[3]s","labels":{"app":"web"}},"spec":{"containers":[{"name":"a"}]},`+
		`"status":{"phase":"Running",`+
		`"conditions":[{"type":"Ready","status":"%[4]s"}],"containerStatuses":[{"ready":%[5]t,"state":{"running":{}}}]}}`,
		name, version, watchTime.Add(-time.Hour).Format(time.RFC3339), condition, ready)
}

// send passes a change to the view. object is the JSON of an object, or "".
func (v *viewTest) send(cluster string, kind stream.ChangeType, object string) error {
	v.Helper()
	c := stream.Change[stream.Object]{Type: kind}
	if kind == stream.Stale {
		c.Err = errors.New("connection lost")
	}
	if object != "" {
		c.Object = &stream.Object{}
		if err := c.Object.UnmarshalJSON([]byte(object)); err != nil {
			v.Fatal(err)
		}
	}
	return v.change(cluster, c)
}

// mustSend is send for a change that must not end the watch.
func (v *viewTest) mustSend(cluster string, kind stream.ChangeType, object string) {
	v.Helper()
	if err := v.send(cluster, kind, object); err != nil {
		v.Fatalf("%s ended the watch: %v", kind, err)
	}
}

// printed checks what was printed since the last call.
func (v *viewTest) printed(want string) {
	v.Helper()
	if diff := cmp.Diff(want, v.out.String()); diff != "" {
		v.Errorf("stdout, -want +got:\n%s", diff)
	}
	v.out.Reset()
}

func TestWatchView_Table(t *testing.T) {
	v := newViewTest(t, "pods", "c")
	v.mustSend("c", stream.Added, podJSON("a-long-name", 1, true))
	v.mustSend("c", stream.Added, podJSON("b", 2, false))
	v.printed("") // until the list is complete
	v.mustSend("c", stream.Synced, "")
	v.printed(`TIME       CHANGE   NAME          READY   STATUS    RESTARTS   AGE
12:00:00   ADDED    a-long-name   1/1     Running   0          60m
12:00:00   ADDED    b             0/1     Running   0          60m
`)
	v.mustSend("c", stream.Modified, podJSON("b", 3, true))
	v.mustSend("c", stream.Stale, "")
	v.mustSend("c", stream.Deleted, podJSON("a-longer-name", 4, true))
	v.mustSend("c", stream.Synced, "")
	v.mustSend("c", stream.Added, podJSON("x", 5, true))
	v.printed(`12:00:00   MODIFIED   b             1/1     Running   0          60m
12:00:00   DELETED    a-longer-name   1/1     Running   0          60m
12:00:00   ADDED      x               1/1     Running   0          60m
`)
}

func TestWatchView_EmptyList(t *testing.T) {
	v := newViewTest(t, "pods", "c")
	var empty []string
	v.empty = func(cluster string) { empty = append(empty, cluster) }
	v.mustSend("c", stream.Synced, "")
	v.mustSend("c", stream.Added, podJSON("a", 1, true))
	v.mustSend("c", stream.Synced, "")
	v.printed(`TIME       CHANGE   NAME   READY   STATUS    RESTARTS   AGE
12:00:00   ADDED    a      1/1     Running   0          60m
`)
	if len(empty) != 1 {
		t.Errorf("the user was told about empty lists of %q, want one of c", empty)
	}
}

func TestWatchView_ClustersAndNamespaces(t *testing.T) {
	v := newViewTest(t, "pods -A -o wide", "one", "two")
	v.mustSend("one", stream.Added, podJSON("a", 1, true))
	v.mustSend("two", stream.Added, podJSON("b", 1, true))
	v.mustSend("two", stream.Synced, "")
	v.mustSend("one", stream.Synced, "")
	v.printed(`TIME       CHANGE   CLUSTER   NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE   IP       NODE
12:00:00   ADDED    two       dev         b      1/1     Running   0          60m   <none>   <none>
12:00:00   ADDED    one       dev         a      1/1     Running   0          60m   <none>   <none>
`)
}

func TestWatchView_Names(t *testing.T) {
	v := newViewTest(t, "pods -o name", "c")
	v.mustSend("c", stream.Added, podJSON("a", 1, true))
	v.mustSend("c", stream.Synced, "")
	v.mustSend("c", stream.Deleted, podJSON("a", 2, true))
	v.printed(strings.Repeat("pod/a\n", 2))
}

func TestWatchView_JSON(t *testing.T) {
	v := newViewTest(t, "pods -o json", "c\x1b[2J")
	const object = `{"metadata":{"name":"a","uid":"u"}, "big":12345678901234567890,"html":"<&>","escape":"\u00e9é\u001b"}`
	v.mustSend("c\x1b[2J", stream.Added, object)
	v.mustSend("c\x1b[2J", stream.Synced, "")
	v.mustSend("c\x1b[2J", stream.Stale, "")
	v.mustSend("c\x1b[2J", stream.Modified, "{\n \"metadata\": {\"name\": \"a\"}\n}")
	const cluster = `{"cluster":"c\u001b[2J",`
	v.printed(cluster + `"type":"ADDED","object":` + object + "}\n" +
		cluster + `"type":"SYNCED"}` + "\n" +
		cluster + `"type":"STALE","error":"connection lost"}` + "\n" +
		cluster + `"type":"MODIFIED","object":{"metadata":{"name":"a"}}}` + "\n")
}

func TestWatchView_UntrustedText(t *testing.T) {
	v := newViewTest(t, "events", "c")
	v.mustSend("c", stream.Added, `{"metadata":{"name":"e"},"message":"a\u001b[2J\u202eb\nkshell: c","reason":"x\ty"}`)
	v.mustSend("c", stream.Synced, "")
	v.printed("TIME       CHANGE   LAST SEEN   TYPE   REASON   OBJECT   MESSAGE\n" +
		`12:00:00   ADDED    <unknown>          x y      /        a\x1b[2J\u202eb kshell: c` + "\n")
}

func TestWatchView_OtherVersionOfTheType(t *testing.T) {
	v := newViewTest(t, "pods", "c")
	v.mustSend("c", stream.Added, `{"metadata":{"name":"a"},"spec":"new"}`)
	v.mustSend("c", stream.Synced, "")
	v.printed("TIME       CHANGE   NAME   READY   STATUS   RESTARTS   AGE\n" +
		"12:00:00   ADDED    a      ?       ?        ?          ?\n")
}

func TestWatchView_LongCells(t *testing.T) {
	v := newViewTest(t, "events -o wide", "c")
	long := strings.Repeat("m", 100)
	v.mustSend("c", stream.Added, `{"metadata":{"name":"e1"},"message":"`+long+`"}`)
	v.mustSend("c", stream.Added, `{"metadata":{"name":"e2"},"message":"short"}`)
	v.mustSend("c", stream.Synced, "")
	v.printed("TIME       CHANGE   LAST SEEN   TYPE   REASON   OBJECT   MESSAGE   SOURCE   COUNT   NAME\n" +
		"12:00:00   ADDED    <unknown>                   /        " + long + "   <none>   1       e1\n" +
		"12:00:00   ADDED    <unknown>                   /        short     <none>   1       e2\n")
}

func TestWatchView_Once(t *testing.T) {
	v := newViewTest(t, "pods --once", "one", "two")
	v.mustSend("one", stream.Added, podJSON("a", 1, true))
	if err := v.send("one", stream.Synced, ""); !errors.Is(err, errListed) {
		t.Errorf("got %v, want errListed", err)
	}
	v.mustSend("two", stream.Added, podJSON("b", 1, true))
	if err := v.send("two", stream.Synced, ""); !errors.Is(err, errListed) {
		t.Errorf("got %v, want errListed", err)
	}
}

func TestWatchView_Until(t *testing.T) {
	type step struct {
		cluster string
		kind    stream.ChangeType
		object  string
	}
	ready, notReady := podJSON("a", 1, true), podJSON("a", 2, false)
	other, otherNotReady := podJSON("b", 1, true), podJSON("b", 2, false)
	synced := step{"one", stream.Synced, ""}
	for name, test := range map[string]struct {
		line  string
		steps []step // the last one ends the watch
	}{
		"ready from the beginning": {"pods --until ready", []step{{"one", stream.Added, ready}, synced}},
		"ready later": {"pods --until ready", []step{
			{"one", stream.Added, notReady},
			{"one", stream.Added, other},
			synced,
			{"one", stream.Modified, other},
			{"one", stream.Modified, ready},
		}},
		"the last that is not ready is deleted": {"pods --until ready", []step{
			{"one", stream.Added, ready}, {"one", stream.Added, otherNotReady}, synced, {"one", stream.Deleted, otherNotReady},
		}},
		"no object is not ready": {"pods --until ready", []step{synced, {"one", stream.Added, ready}}},
		"not while changes may be missing": {"pods --until ready", []step{
			{"one", stream.Added, notReady}, synced, {"one", stream.Stale, ""}, {"one", stream.Modified, ready}, synced,
		}},
		"deleted from the beginning": {"pods --until deleted", []step{synced}},
		"deleted later": {"pods --until deleted", []step{
			{"one", stream.Added, ready},
			{"one", stream.Added, other},
			synced,
			{"one", stream.Deleted, ready},
			{"one", stream.Stale, ""},
			{"one", stream.Deleted, other},
			synced,
		}},
		"in both clusters": {"pods --until ready", []step{
			{"one", stream.Added, ready},
			synced,
			{"two", stream.Added, notReady},
			{"two", stream.Synced, ""},
			{"two", stream.Modified, ready},
		}},
		"deleted in both clusters": {"pods --until deleted", []step{synced, {"two", stream.Synced, ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			clusters := []string{"one"}
			if strings.Contains(name, "both") {
				clusters = append(clusters, "two")
			}
			v := newViewTest(t, test.line, clusters...)
			last := len(test.steps) - 1
			for _, s := range test.steps[:last] {
				v.mustSend(s.cluster, s.kind, s.object)
			}
			s := test.steps[last]
			if err := v.send(s.cluster, s.kind, s.object); !errors.Is(err, errCameTrue) {
				t.Errorf("the last step: got %v, want errCameTrue", err)
			}
		})
	}
}

func TestWatchView_DroppedCluster(t *testing.T) {
	v := newViewTest(t, "pods --until ready", "one", "two", "three")
	v.mustSend("one", stream.Added, podJSON("a", 1, true))
	v.mustSend("one", stream.Synced, "")
	if err := v.drop("two"); err != nil {
		t.Errorf("got %v, but the list of cluster three is not complete", err)
	}
	if err := v.drop("three"); !errors.Is(err, errCameTrue) {
		t.Errorf("got %v, want errCameTrue", err)
	}
	if err := v.drop("one"); err != nil {
		t.Errorf("without clusters: got %v", err)
	}
}

func TestWatchView_IgnoredSelector(t *testing.T) {
	v := newViewTest(t, "pods -l app=web -o name", "c")
	ignored := 0
	v.ignored = func() { ignored++ }
	relabeled := strings.Replace(podJSON("a", 3, true), `"app":"web"`, `"app":"db"`, 1)
	v.mustSend("c", stream.Added, podJSON("a", 1, true))
	v.mustSend("c", stream.Added, strings.Replace(podJSON("b", 2, true), `"app":"web"`, `"app":"db"`, 1))
	v.mustSend("c", stream.Synced, "")
	v.printed("pod/a\n")
	v.mustSend("c", stream.Modified, relabeled) // is no longer selected
	v.mustSend("c", stream.Modified, relabeled)
	v.mustSend("c", stream.Deleted, relabeled)
	v.printed("pod/a\n")
	if ignored != 2 {
		t.Errorf("%d objects were ignored, want 2", ignored)
	}
}

func TestWatchView_WriteError(t *testing.T) {
	v := newViewTest(t, "pods -o name", "c")
	r, w := io.Pipe()
	_ = r.Close()
	v.watchView.out = w
	var output *stream.OutputError
	err := v.send("c", stream.Added, podJSON("a", 1, true))
	if !errors.As(err, &output) || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want an OutputError", err)
	}
}
