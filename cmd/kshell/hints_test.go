package main

import (
	"testing"

	"kshell/internal/kubeconfig"
)

func TestConnectionFlags_Complete(t *testing.T) {
	given := kubeconfig.Flags{Namespace: "team", Context: "my prod"}
	for _, tt := range []struct {
		name, program, command, want string
		flags                        kubeconfig.Flags
	}{
		{"no flags", "kshell", "kshell exec web -- ls", "kshell exec web -- ls", kubeconfig.Flags{}},
		{
			"before the command", "kshell", "kshell exec web -- ls --context x",
			"kshell exec web -n team --context 'my prod' -- ls --context x", given,
		},
		{"at the end", "kshell", "kshell exec --help", "kshell exec --help -n team --context 'my prod'", given},
		{"-- at the end", "kshell", "kshell exec web --", "kshell exec web -n team --context 'my prod' --", given},
		{
			"with a namespace", "kshell", "kshell exec web -n other -- ls",
			"kshell exec web -n other --context 'my prod' -- ls", given,
		},
		{
			"all namespaces", "kshell", "kshell node-shell list -A", "kshell node-shell list -A --context 'my prod'", given,
		},
		{"kubectl", "kshell", "kubectl get nodes", "kubectl get nodes --context 'my prod'", given},
		{
			"kubectl with a namespace", "kshell", "kubectl get pods -n a", "kubectl get pods -n a --context 'my prod'", given,
		},
		{
			"plugin of kubectl", "kubectl kshell", "kubectl kshell exec web",
			"kubectl kshell exec web -n team --context 'my prod'", given,
		},
		{
			"two commands", "kshell", "kubectl get a -n b && kubectl get c -n d",
			"kubectl get a -n b --context 'my prod' && kubectl get c -n d --context 'my prod'", given,
		},
		{
			"&& in a quoted argument", "kshell", "kshell exec web -- sh -c 'cd /tmp && kubectl get pods'",
			"kshell exec web -n team --context 'my prod' -- sh -c 'cd /tmp && kubectl get pods'", given,
		},
		{
			"&& after a quoted apostrophe", "kshell", `kshell exec web -- echo 'it'\''s' && kubectl get nodes`,
			`kshell exec web -n team --context 'my prod' -- echo 'it'\''s' && kubectl get nodes --context 'my prod'`, given,
		},
		{
			"-- in a quoted argument", "kshell", "kshell exec -l 'a -- b' -- ls",
			"kshell exec -l 'a -- b' -n team --context 'my prod' -- ls", given,
		},
		{
			"flag in a quoted argument", "kshell", `kshell exec --env "X=a -n b -A c" web`,
			`kshell exec --env "X=a -n b -A c" web -n team --context 'my prod'`, given,
		},
		{
			"-A of the remote command", "kshell", "kshell exec web -- grep -A 3 x f",
			"kshell exec web -n team --context 'my prod' -- grep -A 3 x f", given,
		},
		{"change of the kubeconfig", "kshell", "kubectl config set-cluster c", "kubectl config set-cluster c", given},
		{"another program", "kshell", "unset KUBECONFIG", "unset KUBECONFIG", given},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connectionFlags{tt.program, &tt.flags, &headlampFlags{}}
			if got, note := c.Complete(tt.command); got != tt.want || note != "" {
				t.Errorf("got  %s\nwant %s\nnote %q", got, tt.want, note)
			}
		})
	}
}

func TestConnectionFlags_Headlamp(t *testing.T) {
	flags := connectionFlags{"kshell", &kubeconfig.Flags{}, &headlampFlags{address: "https://h/x y", cluster: "main"}}
	for command, want := range map[string]string{
		"kshell exec web -- ls":                "kshell exec web --headlamp 'https://h/x y' --headlamp-cluster main -- ls",
		"kshell exec web --headlamp-cluster b": "kshell exec web --headlamp-cluster b --headlamp 'https://h/x y'",
		"kubectl get nodes":                    "kubectl get nodes",
	} {
		if got, _ := flags.Complete(command); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	flags.headlamp = &headlampFlags{address: "h", tokenFile: "token", stateless: "always"}
	want := "kshell node-shell list --headlamp h --headlamp-token-file token --headlamp-stateless always"
	if got, _ := flags.Complete("kshell node-shell list"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	flags.headlamp = &headlampFlags{address: "h"}
	flags.flags = &kubeconfig.Flags{CAFile: "ca.pem", TLSServerName: "name", ProxyURL: "http://proxy:1", Insecure: true}
	want = "kshell node-shell gc --headlamp h --certificate-authority ca.pem --tls-server-name name " +
		"--proxy-url http://proxy:1 --insecure-skip-tls-verify"
	if got, _ := flags.Complete("kshell node-shell gc"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = "kshell exec --insecure-skip-tls-verify web --headlamp h -- ls"
	flags.flags = &kubeconfig.Flags{Insecure: true, ProxyURL: "http://me:secret@proxy:1"}
	if got, _ := flags.Complete("kshell exec --insecure-skip-tls-verify web -- ls"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// kubectl cannot use a Headlamp server. So commands of kubectl in hints are
// replaced, or have a note.
func TestConnectionFlags_KubectlThroughHeadlamp(t *testing.T) {
	headlamp := &headlampFlags{address: "h", used: true}
	c := connectionFlags{"kshell", &kubeconfig.Flags{Context: "prod"}, headlamp}
	const flags = " --headlamp h --context prod"
	for command, want := range map[string]string{
		"kubectl delete pod a -n team --ignore-not-found": "kshell node-shell gc -n team" + flags,
		"kubectl get pods -n 'a b'":                       "kshell watch pods -n 'a b' --once" + flags,
		"kubectl get node worker-1":                       "kshell watch node worker-1 --once" + flags,
		"kshell node-shell gc":                            "kshell node-shell gc" + flags,
		"kubectl config set-cluster c":                    "kubectl config set-cluster c",
	} {
		if got, note := c.Complete(command); got != want || note != "" {
			t.Errorf("got  %s\nwant %s\nnote %q", got, want, note)
		}
	}
	for _, command := range []string{
		"kubectl describe pod web -n team", "kubectl get csr", "kubectl get pods --show-labels -n team",
		"kubectl create role a && kubectl create rolebinding a",
	} {
		if got, note := c.Complete(command); got != command || note != kubectlNote {
			t.Errorf("got %s\nnote %q; want %s with a note", got, note, command)
		}
	}
}
