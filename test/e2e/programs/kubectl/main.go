// Command kubectl is the kubectl of the module k8s.io/kubectl: the reference that kshell is compared with.
// It is a program of its own (and not a part of kube) so that its size and its start-up are those that users have.
package main

import (
	"os"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // the login methods that kubectl has
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	_, _ = logs.GlogSetter(cmd.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
