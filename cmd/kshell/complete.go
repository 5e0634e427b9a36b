package main

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/pod"
)

// The rules of completion, which runs while the user edits a command line:
//
//   - It writes no errors: nothing to stderr, and nothing instead of the candidates.
//   - It prompts for nothing: credential plugins have no terminal.
//   - It takes no longer than completionBudget.
//   - It does not offer names that could be harmful in a shell.

// completionBudget is the time limit of a completion.
var completionBudget = 2 * time.Second

// completion is cobra's function for an argument or a flag.
type completion = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// completeConnection completes the connection's flags, on root.
func (a *app) completeConnection(root *cobra.Command) {
	for flag, complete := range map[string]completion{
		"context":   a.entries(func(c *clientcmdapi.Config) []string { return entryNames(c.Contexts) }),
		"cluster":   a.entries(func(c *clientcmdapi.Config) []string { return entryNames(c.Clusters) }),
		"user":      a.entries(func(c *clientcmdapi.Config) []string { return entryNames(c.AuthInfos) }),
		"namespace": a.namespaces,
	} {
		_ = root.RegisterFlagCompletionFunc(flag, complete) // the flag is there: no error
	}
	noFiles(root, root.PersistentFlags())
}

// completeExec completes what is exec's own, and returns cmd.
func (a *app) completeExec(cmd *cobra.Command) *cobra.Command {
	cmd.ValidArgsFunction = a.targets
	_ = cmd.RegisterFlagCompletionFunc("container", a.containers) // the flag is there: no error
	_ = cmd.MarkFlagFilename(filenameFlag, "yaml", "yml", "json")
	noFiles(cmd, cmd.Flags())
	return cmd
}

// pathFlags are those whose values are files or folders here.
var pathFlags = []string{filenameFlag, "kubeconfig", "certificate-authority", "client-certificate", "client-key", "stdin-file", "status-file"}

// noFiles keeps a shell from offering files for the values of flags that are none.
func noFiles(cmd *cobra.Command, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(pathFlags, f.Name) {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions) // an error: it has a completion already
		}
	})
}

// entries completes a name out of the kubeconfig.
func (a *app) entries(names func(*clientcmdapi.Config) []string) completion {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		return timely(cmd, func(context.Context) []string {
			rules := clientcmd.NewDefaultClientConfigLoadingRules()
			rules.ExplicitPath, rules.MigrationRules, rules.WarnIfAllMissing = a.kube.Kubeconfig, nil, false
			config, err := rules.Load()
			if err != nil {
				return nil
			}
			return beginning(toComplete, names(config))
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

func entryNames[T any](entries map[string]T) []string {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *app) namespaces(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	return timely(cmd, func(ctx context.Context) []string {
		kube, err := a.unattended()
		if err != nil {
			return nil
		}
		return namesAt(ctx, kube.Config, "/api/v1/namespaces", toComplete)
	}), cobra.ShellCompDirectiveNoFileComp
}

// targets completes POD or TYPE/NAME.
func (a *app) targets(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || changed(cmd, filenameFlag) || changed(cmd, "selector") {
		return nil, cobra.ShellCompDirectiveNoFileComp // the command is the remote's, and what named the pod was a flag
	}
	typed, name, slash := strings.Cut(toComplete, "/")
	if slash {
		return a.named(cmd, typed, name), cobra.ShellCompDirectiveNoFileComp
	}
	pods, types := a.named(cmd, "", toComplete), typesFor(toComplete)
	if len(pods) == 0 && len(types) > 0 {
		return types, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace // the name comes next
	}
	return append(pods, types...), cobra.ShellCompDirectiveNoFileComp
}

// named are the objects of a type whose names begin so, as they are typed; "" are pods.
func (a *app) named(cmd *cobra.Command, typed, prefix string) []string {
	before := ""
	if typed != "" {
		before = typed + "/"
	}
	target, err := pod.ParseTarget(before + "any")
	if err != nil {
		return nil
	}
	return timely(cmd, func(ctx context.Context) []string {
		kube, err := a.unattended()
		if err != nil {
			return nil
		}
		names := namesAt(ctx, kube.Config, listPath(target.Kind, kube.Namespace), prefix)
		for i := range names {
			names[i] = before + names[i]
		}
		return names
	})
}

// types are those of which ParseTarget knows, the most used first.
var types = []struct{ kind, short, group string }{
	{"deployment", "deploy", "apps"},
	{"statefulset", "sts", "apps"},
	{"daemonset", "ds", "apps"},
	{"job", "job", "batch"},
	{"service", "svc", ""},
	{"pod", "po", ""},
	{"replicaset", "rs", "apps"},
	{"replicationcontroller", "rc", ""},
}

// typesFor are the beginnings of TYPE/NAME for what is typed of one.
func typesFor(typed string) []string {
	var found []string
	for _, t := range types {
		for _, name := range []string{t.kind, t.short, t.kind + "s"} {
			if strings.HasPrefix(name, typed) {
				found = append(found, name+"/")
				break
			}
		}
	}
	return found
}

// listPath is where the objects of a kind are listed: their plurals are regular.
func listPath(kind, namespace string) string {
	root := "/api/v1"
	for _, t := range types {
		if t.kind == kind && t.group != "" {
			root = "/apis/" + t.group + "/v1"
		}
	}
	return root + "/namespaces/" + namespace + "/" + kind + "s"
}

// containers completes the container of the pod, or of a pod of the workload, that is named already.
func (a *app) containers(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	request := pod.Request{}
	if labels := cmd.Flag("selector"); labels != nil {
		request.Selector = labels.Value.String()
	}
	if len(args) > 0 {
		var err error
		if request.Target, err = pod.ParseTarget(args[0]); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
	if request == (pod.Request{}) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return timely(cmd, func(ctx context.Context) []string {
		kube, err := a.unattended()
		if err != nil {
			return nil
		}
		request.Namespace = kube.Namespace
		client, err := pod.NewClient(kube.Config, pod.Options{})
		if err != nil {
			return nil
		}
		running, skipped, err := client.List(ctx, request)
		switch {
		case err != nil:
			return nil
		case len(running) > 0:
			return containersOf(&running[0].Pod.Spec, toComplete)
		default:
			return containersOf(&skipped[0].Pod.Spec, toComplete)
		}
	}), cobra.ShellCompDirectiveNoFileComp
}

func changed(cmd *cobra.Command, flag string) bool {
	f := cmd.Flag(flag)
	return f != nil && f.Changed
}

// timely returns the result of find, or nil if find takes longer than the budget (a
// credential plugin cannot be interrupted). It does not wait for find in that case:
// the process exits after the answer.
func timely(cmd *cobra.Command, find func(context.Context) []string) []string {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionBudget)
	defer cancel()
	asking, stop := context.WithTimeout(ctx, completionBudget*9/10) // time left for an incomplete answer
	defer stop()
	found := make(chan []string, 1)
	go func() { found <- find(asking) }() // a panic ends the process, which has no terminal to restore
	select {
	case names := <-found:
		return names
	case <-ctx.Done():
		return nil
	}
}

// beginning are the names that may be offered for what is typed.
func beginning(typed string, names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !offered(typed, name) })
}

// offered says whether a name begins so, and holds nothing that no name should.
func offered(typed, name string) bool {
	return strings.HasPrefix(name, typed) && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
	})
}
