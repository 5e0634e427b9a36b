package main

import (
	"testing"

	"k8s.io/client-go/rest"

	"kshell/internal/kubeconfig"
	"kshell/internal/pod"
)

func TestConfirmTargetOf(t *testing.T) {
	conn := &kubeconfig.Connection{Config: &rest.Config{Host: "https://10.0.0.1:6443/k8s"}, Context: "prod"}
	account := &kubeconfig.Connection{Config: conn.Config, Context: kubeconfig.InCluster}
	noContext := &kubeconfig.Connection{Config: conn.Config}
	for _, test := range []struct {
		name string
		set  func(*app)
		conn *kubeconfig.Connection
		want confirmTarget
	}{
		{"context", func(*app) {}, conn, confirmTarget{"context", "prod"}},
		{"service account", func(*app) {}, account, confirmTarget{"context", "(in-cluster)"}},
		{"no context", func(*app) {}, noContext, confirmTarget{"server", "10.0.0.1:6443"}},
		{"--server", func(a *app) { a.kube.Server = "x" }, conn, confirmTarget{"server", "10.0.0.1:6443"}},
		{"--cluster", func(a *app) { a.kube.Cluster = "x" }, conn, confirmTarget{"server", "10.0.0.1:6443"}},
		{
			"Headlamp", func(a *app) { a.headlamp.used, a.headlampCluster = true, "main" }, conn,
			confirmTarget{"cluster", "main"},
		},
		{"upload to Headlamp", func(a *app) { a.headlamp.used = true }, conn, confirmTarget{"context", "prod"}},
	} {
		a := newTestApp()
		test.set(a)
		if got := a.confirmTargetOf(test.conn); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestExecPlan_Action(t *testing.T) {
	web := pod.Target{Kind: "pod", Name: "web"}
	for want, p := range map[string]*execPlan{
		"a shell in pod/web, namespace dev":                           {target: web},
		"a shell in pod/web, container app, namespace dev":            {target: web, container: "app"},
		"the command ls '/a b' in pod/web, namespace dev":             {target: web, command: []string{"ls", "/a b"}},
		"a shell in a pod of deployment/web, namespace dev":           {target: pod.Target{Kind: "deployment", Name: "web"}},
		"a session that is already running in pod/web, namespace dev": {target: web, attach: &attachPlan{}},
		"a session that is already running in a pod, namespace dev":   {attach: &attachPlan{}},
	} {
		if got := p.action("dev"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := manyAction([]string{"id"}, "in", 1, "pod"); got != "the command id in 1 pod" {
		t.Error(got)
	}
	if got := manyAction([]string{"id"}, "on", 2, "node"); got != "the command id on 2 nodes" {
		t.Error(got)
	}
	long := make([]string, 100)
	if got := []rune(shortCommand(long)); len(got) != maxAction+1 {
		t.Errorf("%d characters", len(got))
	}
}
