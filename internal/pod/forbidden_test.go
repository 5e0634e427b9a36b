package pod

import (
	"errors"
	"testing"
)

func TestForbiddenError(t *testing.T) {
	deployment := Rule{Verb: "get", Group: "apps", Resource: "deployments"}
	list := Rule{Verb: "list", Resource: "pods"}
	const ask, askToBind = "ask an administrator to type this line: ",
		"ask an administrator to type this line, and to bind the role to your user: "
	for _, tt := range []struct {
		name       string
		denied     []Rule
		refusal    string
		incomplete string
		text, hint string
	}{
		{
			"one resource", ExecRules(), `User "dev" cannot get resource "pods/exec"`, "",
			`not allowed in namespace "shop": get and create pods/exec`,
			ask + "kubectl create role kshell --verb=get,create --resource=pods/exec -n shop && " +
				"kubectl create rolebinding kshell --role=kshell --user=dev -n shop",
		},
		{
			"several resources, unknown user", append([]Rule{deployment, list}, ExecRules()...), "no reason", "",
			`not allowed in namespace "shop": get deployments.apps; list pods; get and create pods/exec`,
			askToBind + "kubectl create role kshell-1 --verb=get --resource=deployments.apps -n shop && " +
				"kubectl create role kshell-2 --verb=list --resource=pods -n shop && " +
				"kubectl create role kshell-3 --verb=get,create --resource=pods/exec -n shop",
		},
		{
			"the same verbs on two resources",
			[]Rule{deployment, {Verb: "get", Resource: "services"}, deployment},
			"", "",
			`not allowed in namespace "shop": get deployments.apps; get services`,
			askToBind + "kubectl create role kshell --verb=get --resource=deployments.apps,services -n shop",
		},
		{
			"three verbs, a name and a subresource of a group",
			[]Rule{
				{Verb: "get", Group: "apps", Resource: "deployments", Subresource: "scale", Name: "web"},
				{Verb: "update", Group: "apps", Resource: "deployments", Subresource: "scale", Name: "web"},
				{Verb: "patch", Group: "apps", Resource: "deployments", Subresource: "scale", Name: "web"},
			},
			"", "",
			`not allowed in namespace "shop": get, update and patch deployments.apps/scale "web"`,
			askToBind + "kubectl create role kshell --verb=get,update,patch --resource=deployments.apps/scale " +
				"--resource-name=web -n shop",
		},
		{
			"incomplete review",
			[]Rule{list},
			"", `roles "dev" not found`,
			`not allowed in namespace "shop" (not for certain, because the server's review of your rights is incomplete): ` +
				"list pods",
			askToBind + "kubectl create role kshell --verb=list --resource=pods -n shop",
		},
		{
			"service account",
			[]Rule{list},
			`User "system:serviceaccount:ci:deployer" cannot list`, "",
			`not allowed in namespace "shop": list pods`,
			ask + "kubectl create role kshell --verb=list --resource=pods -n shop && " +
				"kubectl create rolebinding kshell --role=kshell --serviceaccount=ci:deployer -n shop",
		},
		{
			"user with spaces",
			[]Rule{list},
			`User "Jane Doe" cannot list`, "",
			`not allowed in namespace "shop": list pods`,
			ask + "kubectl create role kshell --verb=list --resource=pods -n shop && " +
				"kubectl create rolebinding kshell --role=kshell '--user=Jane Doe' -n shop",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refusal := errors.New(tt.refusal)
			err := &ForbiddenError{Namespace: "shop", Denied: tt.denied, Incomplete: tt.incomplete, Err: refusal}
			if err.Error() != tt.text {
				t.Errorf("got  %s\nwant %s", err, tt.text)
			}
			if err.Hint() != tt.hint {
				t.Errorf("hint %s\nwant %s", err.Hint(), tt.hint)
			}
			if !errors.Is(err, refusal) {
				t.Error("the error does not wrap the refusal")
			}
		})
	}
}
