package pod

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseManifest_FirstObject(t *testing.T) {
	tests := []struct{ name, text, target, namespace string }{
		{"pod", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n", "pod/web", ""},
		{"namespace", "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n", "pod/web", "shop"},
		{
			"deployment",
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 2}\n",
			"deployment/web",
			"",
		},
		{"old version", "apiVersion: apps/v1beta2\nkind: StatefulSet\nmetadata: {name: db}\n", "statefulset/db", ""},
		{"job", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: once}\n", "job/once", ""},
		{"service", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n", "service/web", ""},
		{
			"controller",
			"apiVersion: v1\nkind: ReplicationController\nmetadata: {name: web}\n",
			"replicationcontroller/web",
			"",
		},
		{
			"several documents",
			"---\n# nothing\n---\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nkind: [",
			"pod/a",
			"",
		},
		{
			"comment before",
			"# the shop\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nkind: ConfigMap\n",
			"pod/a",
			"",
		},
		{"json", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"}}`, "pod/web", "shop"},
		{
			"json, two",
			` {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}} {"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}`,
			"pod/a",
			"",
		},
		{
			"list",
			"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d, " +
				"namespace: shop}}\n- {apiVersion: v1, kind: Pod, metadata: {name: p}}\n",
			"daemonset/d",
			"shop",
		},
		{
			"typed list",
			`{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`,
			"pod/a",
			"",
		},
		{
			"typed list of a group",
			"apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- metadata: {name: a}\n",
			"deployment/a",
			"",
		},
		{
			"empty list, then an object",
			"apiVersion: v1\nkind: List\nitems: []\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n",
			"pod/p",
			"",
		},
		{
			"list in a list",
			"kind: List\nitems:\n- kind: List\n  items: []\n- kind: List\n  items:\n  - {apiVersion: v1, kind: " +
				"Pod, metadata: {name: p}}\n",
			"pod/p",
			"",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target, namespace, err := ParseManifest(strings.NewReader(test.text))
			if err != nil || target.String() != test.target || namespace != test.namespace {
				t.Errorf("got %s in %q, %v; want %s in %q", target, namespace, err, test.target, test.namespace)
			}
		})
	}
}

func TestParseManifest_Invalid(t *testing.T) {
	const notManifest = "is not a manifest (YAML or JSON with kind and metadata)"
	tests := []struct{ name, text, want, hint string }{
		{"empty", "", "contains no object", "first object"},
		{"only comments", "# a\n---\n# b\n", "contains no object", "first object"},
		{"empty list", "kind: List\nitems: []\n", "contains no object", "first object"},
		{
			"another type",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n",
			`the first object of the manifest has type "ConfigMap" of "v1"`,
			"the types are pod",
		},
		{
			"another group",
			"apiVersion: serving.example/v1\nkind: Service\nmetadata: {name: s}\n",
			`"Service" of "serving.example/v1"`,
			"the types are",
		},
		{
			"core type in a group",
			"apiVersion: apps/v1\nkind: Pod\nmetadata: {name: s}\n",
			`"Pod" of "apps/v1"`,
			"the types are",
		},
		{"short name as kind", "apiVersion: v1\nkind: po\nmetadata: {name: s}\n", `"po" of "v1"`, "the types are"},
		{"no kind", "apiVersion: v1\nmetadata: {name: s}\n", notManifest, "first object"},
		{"no name", "apiVersion: v1\nkind: Pod\n", "the pod in the manifest has no name", "first object"},
		{
			"generated name",
			"apiVersion: v1\nkind: Pod\nmetadata: {generateName: web-}\n",
			`only generateName "web-"`,
			"first object",
		},
		{"bad name", "apiVersion: v1\nkind: Pod\nmetadata: {name: ../x}\n", `"../x" is not a valid name`, ""},
		{
			"bad namespace",
			"apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: a/b}\n",
			`invalid namespace name, "a/b"`,
			"",
		},
		{"not yaml", "kind: [\n", notManifest + ": yaml: line 1: did not find", "first object"},
		{"not json", `{"kind": "Pod", `, notManifest + ": ", "first object"},
		{"no object", "- a\n- b\n", notManifest, "first object"},
		{"text", "hello\n", notManifest, "first object"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := ParseManifest(strings.NewReader(test.text))
			var e *TargetError
			if !errors.As(err, &e) || !strings.Contains(e.Error(), test.want) ||
				!strings.Contains(e.Hint(), test.hint) ||
				e.Hint() == "" {
				t.Errorf("got %v, want a *TargetError with %q", err, test.want)
			}
		})
	}
}

func TestParseManifest_ReadError(t *testing.T) {
	broken := errors.New("link down")
	_, _, err := ParseManifest(io.MultiReader(strings.NewReader("kind: Pod\n"), iotest.ErrReader(broken)))
	var e *TargetError
	if !errors.Is(err, broken) || errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

func TestParseManifest_Endless(t *testing.T) {
	_, _, err := ParseManifest(endless{})
	var e *TargetError
	if !errors.As(err, &e) || !strings.Contains(e.Error(), "larger than 16 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestParseManifest_LargestSize(t *testing.T) {
	const object = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"}}`
	target, _, err := ParseManifest(strings.NewReader(object + strings.Repeat("\n", maxManifest-len(object))))
	if err != nil || target.Name != "web" {
		t.Errorf("got %v, %v", target, err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add("apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n")
	f.Add(`{"kind":"List","items":[{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"}}]}`)
	f.Add("--- \n--- ---\n{}")
	f.Fuzz(func(t *testing.T, text string) {
		target, namespace, err := ParseManifest(strings.NewReader(text))
		if err != nil {
			return
		}
		if again, err := ParseTarget(target.String()); err != nil || again != target ||
			strings.ContainsAny(namespace, "/%?#. ") {
			t.Errorf("%q gave %v in %q", text, target, namespace)
		}
	})
}
