package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/kinds"
	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// Completion runs while the user edits a command line. It:
//
//   - writes no errors, neither to stderr nor among the candidates;
//   - does not prompt: credential plugins have no terminal;
//   - takes at most completionBudget;
//   - does not offer names that could be harmful in a shell.

// completionBudget is the time limit of a completion.
var completionBudget = 2 * time.Second

// completionFunc completes an argument or the value of a flag.
type completionFunc = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// completeConnection sets the completion of root's connection flags.
func (a *app) completeConnection(root *cobra.Command) {
	for flag, complete := range map[string]completionFunc{
		"context":     a.kubeconfigNames(func(c *clientcmdapi.Config) []string { return sortedKeys(c.Contexts) }),
		"cluster":     a.kubeconfigNames(func(c *clientcmdapi.Config) []string { return sortedKeys(c.Clusters) }),
		"user":        a.kubeconfigNames(func(c *clientcmdapi.Config) []string { return sortedKeys(c.AuthInfos) }),
		"namespace":   a.completeNamespace,
		clusterFlag:   a.completeHeadlampCluster,
		statelessFlag: cobra.FixedCompletions(statelessModes, cobra.ShellCompDirectiveNoFileComp),
	} {
		_ = root.RegisterFlagCompletionFunc(flag, complete) // the flag exists: no error
	}
	noFiles(root, root.PersistentFlags())
}

// completeExec sets the completion of the arguments and flags of exec, and
// returns cmd.
func (a *app) completeExec(cmd *cobra.Command) *cobra.Command {
	cmd.ValidArgsFunction = a.completeTarget
	_ = cmd.RegisterFlagCompletionFunc("container", a.completeContainer) // the flag exists: no error
	_ = cmd.MarkFlagFilename(filenameFlag, "yaml", "yml", "json")
	noFiles(cmd, cmd.Flags())
	return cmd
}

// completeSessions sets the completion of the arguments and flags of sessions.
func (a *app) completeSessions(cmd *cobra.Command) {
	cmd.ValidArgsFunction = a.completeTarget
	fixed := cobra.FixedCompletions(listFormats, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("container", a.completeContainer) // the flags exist: no errors
	_ = cmd.RegisterFlagCompletionFunc(outputFlag, fixed)
	_ = cmd.RegisterFlagCompletionFunc(endFlag, a.completeSession)
	noFiles(cmd, cmd.Flags())
}

// completeSession completes the ID of a session. The sessions are those of the
// pods that the command line selects.
func (a *app) completeSession(
	cmd *cobra.Command, args []string, toComplete string,
) ([]string, cobra.ShellCompDirective) {
	p := sessionsPlan{parallel: defaultParallel}
	for flag, value := range map[string]*string{"selector": &p.selector, "container": &p.container} {
		*value = cmd.Flag(flag).Value.String() // exec and sessions have both flags
	}
	p.dirs, _ = cmd.Flags().GetStringSlice(resumeDirFlag) // the flag exists: no error
	if len(args) > 0 {
		var err error
		if p.target, err = pod.ParseTarget(args[0]); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return a.timely(cmd, func(ctx context.Context) []string {
		kube, err := a.connectForCompletion(ctx)
		if err != nil {
			return nil
		}
		if p.dirs, err = a.resumeDirs(p.dirs); err != nil {
			return nil
		}
		cluster, err := remote.NewCluster(a.env(), kube.Config, false)
		if err != nil {
			return nil
		}
		found, _, _ := a.findSessions(ctx, cluster, kube.Namespace, &p) // after an error there are no sessions
		var ids []string
		for i := range found {
			row := newSessionRow(&found[i])
			if isOfferable(row.ID, toComplete) {
				ids = append(ids, row.ID+"\t"+notice.Clean(row.Pod+" "+row.cells(false, time.Now())[5]))
			}
		}
		return ids
	}), cobra.ShellCompDirectiveNoFileComp
}

// pathFlags are the flags whose values are local files.
var pathFlags = []string{
	filenameFlag, "kubeconfig", "kuberc", "certificate-authority", "client-certificate", "client-key",
	"stdin-file", "status-file", tokenFileFlag,
}

// noFiles prevents the shell from offering files as values of flags that do not
// take a file.
func noFiles(cmd *cobra.Command, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(pathFlags, f.Name) {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions) // an error means that f has a completion
		}
	})
}

// kubeconfigNames returns a function that completes a name in the kubeconfig.
// The parameter names is a function that returns the possible names, such as
// those of all contexts.
func (a *app) kubeconfigNames(names func(*clientcmdapi.Config) []string) completionFunc {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		return a.timely(cmd, func(context.Context) []string {
			rules := clientcmd.NewDefaultClientConfigLoadingRules()
			rules.ExplicitPath, rules.MigrationRules, rules.WarnIfAllMissing = a.kube.Kubeconfig, nil, false
			config, err := rules.Load()
			if err != nil {
				return nil
			}
			return offerable(names(config), toComplete)
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func (a *app) completeNamespace(
	cmd *cobra.Command, _ []string, toComplete string,
) ([]string, cobra.ShellCompDirective) {
	return a.timely(cmd, func(ctx context.Context) []string {
		kube, err := a.connectForCompletion(ctx)
		if err != nil {
			return nil
		}
		return listNames(ctx, kube.Config, "/api/v1/namespaces", toComplete)
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeHeadlampCluster completes the name of a cluster of the Headlamp
// server.
func (a *app) completeHeadlampCluster(
	cmd *cobra.Command, _ []string, toComplete string,
) ([]string, cobra.ShellCompDirective) {
	return a.timely(cmd, func(ctx context.Context) []string {
		server, err := a.askHeadlamp(ctx)
		if err != nil {
			return nil
		}
		return offerable(server.Names(), toComplete)
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeTarget completes POD or TYPE/NAME. If the pod is already given, it
// completes the ID of a session of exec --attach, and otherwise offers nothing:
// the next argument belongs to the remote command.
func (a *app) completeTarget(
	cmd *cobra.Command, args []string, toComplete string,
) ([]string, cobra.ShellCompDirective) {
	if attach, _ := cmd.Flags().GetBool(attachFlag); attach && len(args) == 1 { // false without such a flag
		return a.completeSession(cmd, args, toComplete)
	}
	if len(args) > 0 || changed(cmd, filenameFlag) || changed(cmd, "selector") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if typ, name, ok := strings.Cut(toComplete, "/"); ok {
		return a.objectNames(cmd, typ, name), cobra.ShellCompDirectiveNoFileComp
	}
	pods, types := a.objectNames(cmd, "", toComplete), pod.CompleteType(toComplete)
	for i := range types {
		types[i] += "/"
	}
	if len(pods) == 0 && len(types) > 0 {
		// No space is added after the slash, because the name follows.
		return types, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return append(pods, types...), cobra.ShellCompDirectiveNoFileComp
}

// completeWatched completes TYPE, NAME and TYPE/NAME of watch.
func (a *app) completeWatched(
	cmd *cobra.Command, args []string, toComplete string,
) ([]string, cobra.ShellCompDirective) {
	typ, name, slash := strings.Cut(toComplete, "/")
	switch {
	case len(args) == 1:
		return a.watchedNames(cmd, args[0], toComplete, ""), cobra.ShellCompDirectiveNoFileComp
	case len(args) > 1 || changed(cmd, "raw"):
		return nil, cobra.ShellCompDirectiveNoFileComp
	case slash:
		return a.watchedNames(cmd, typ, name, typ+"/"), cobra.ShellCompDirectiveNoFileComp
	}
	return kinds.Complete(toComplete), cobra.ShellCompDirectiveNoFileComp
}

// watchedNames returns the names of the objects of type typ that begin with
// prefix, each after the text before.
func (a *app) watchedNames(cmd *cobra.Command, typ, prefix, before string) []string {
	k, ok := kinds.Find(typ)
	if !ok || changed(cmd, "selector") {
		return nil
	}
	return a.timely(cmd, func(ctx context.Context) []string {
		kube, err := a.connectForCompletion(ctx)
		if err != nil {
			return nil
		}
		names := listNames(ctx, kube.Config, k.Path(kube.Namespace), prefix)
		for i := range names {
			names[i] = before + names[i]
		}
		return names
	})
}

// objectNames returns the names of the objects of type typ that begin with
// prefix, each as TYPE/NAME. If typ is "", it returns the names of pods,
// without a type.
func (a *app) objectNames(cmd *cobra.Command, typ, prefix string) []string {
	before := ""
	if typ != "" {
		before = typ + "/"
	}
	return a.timely(cmd, func(ctx context.Context) []string {
		kube, err := a.connectForCompletion(ctx)
		if err != nil {
			return nil
		}
		path, err := pod.ListPath(cmp.Or(typ, "pod"), kube.Namespace)
		if err != nil {
			return nil
		}
		names := listNames(ctx, kube.Config, path, prefix)
		for i := range names {
			names[i] = before + names[i]
		}
		return names
	})
}

// completeContainer completes the name of a container. The containers are those
// of the pod on the command line. For a workload or a selector, they are those
// of the first running pod, or of the first pod if no pod is running.
func (a *app) completeContainer(
	cmd *cobra.Command, args []string, toComplete string,
) ([]string, cobra.ShellCompDirective) {
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
	return a.timely(cmd, func(ctx context.Context) []string {
		kube, err := a.connectForCompletion(ctx)
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
			return containerNames(&running[0].Pod.Spec, toComplete)
		default:
			return containerNames(&skipped[0].Pod.Spec, toComplete)
		}
	}), cobra.ShellCompDirectiveNoFileComp
}

// changed reports whether a flag is given.
func changed(cmd *cobra.Command, flag string) bool {
	f := cmd.Flag(flag)
	return f != nil && f.Changed
}

// timely returns the result of find, or nil if find takes longer than
// completionBudget. In that case, the call of find continues until the process
// ends, because a credential plugin cannot be interrupted.
func (a *app) timely(cmd *cobra.Command, find func(context.Context) []string) []string {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionBudget)
	defer cancel()
	// findCtx ends before ctx, so that find can return an incomplete list.
	findCtx, stop := context.WithTimeout(ctx, completionBudget*9/10)
	defer stop()
	found := make(chan []string, 1)
	go func() {
		defer a.cleanup.OnPanic()
		found <- find(findCtx)
	}()
	select {
	case names := <-found:
		return names
	case <-ctx.Done():
		return nil
	}
}

// offerable returns the names for which isOfferable is true. It modifies names.
func offerable(names []string, prefix string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !isOfferable(name, prefix) })
}

// isOfferable reports whether name begins with prefix and has no control or
// format characters, and no line or paragraph separators.
func isOfferable(name, prefix string) bool {
	return strings.HasPrefix(name, prefix) && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
	})
}
