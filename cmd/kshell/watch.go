package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"kshell/internal/kinds"
	"kshell/internal/outcome"
)

// watchFlags are the flags of watch.
type watchFlags struct {
	selector, fieldSelector string
	allNamespaces           bool
	output                  string
	limit                   int
	until                   string
	once                    bool
	raw                     string
}

// The values of --until.
const (
	untilReady   = "ready"
	untilDeleted = "deleted"
)

var untilValues = []string{untilReady, untilDeleted}

// eventLimit is the default of --limit for events. For other types, there is no
// limit.
const eventLimit = 50

// newWatch returns the command watch.
func newWatch(a *app) *cobra.Command {
	var f watchFlags
	cmd := f.command(func(cmd *cobra.Command, args []string) error {
		plan, err := planWatch(cmd, f, args)
		if err != nil {
			return err
		}
		return a.watch(cmd.Context(), plan)
	})
	cmd.ValidArgsFunction = a.completeWatched
	return cmd
}

// command returns the command watch, whose flags are stored in f.
func (f *watchFlags) command(run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch (TYPE [NAME] | TYPE/NAME | --raw PATH [NAME]) [-l LABELS] [-A]",
		Short: "List objects, and print each change until it is interrupted",
		Long: `List objects, and then print a line for each change: its time, ADDED, MODIFIED or DELETED, and the columns of
kubectl get. A lost connection does not end the command: kshell connects again and prints what has changed.

TYPE is pods, nodes, events, namespaces, services, deployments, replicasets, statefulsets, daemonsets, jobs, cronjobs or
replicationcontrollers, or kubectl's other names for these. --raw names any other list by its API path.

With -o json, each line is a JSON object: {"cluster":...,"type":...,"object":...}. The object is as the server has sent
it. The type is ADDED, MODIFIED, DELETED, SYNCED (the list is complete, or the connection works again) or STALE (the
connection is lost, and changes may be missing).

With several --context, the clusters are watched at the same time. If one refuses, the others are still watched, and the
exit code is 255 in the end.`,
		Example: `  kshell watch pods                             the pods of the namespace
  kshell watch events -A --limit 20             the newest 20, then each new one
  kshell watch deploy/web --until ready         wait for the end of a rollout
  kshell watch pods -l app=web --until deleted  wait until no such pod exists
  kshell watch nodes --context a --context b    the nodes of two clusters
  kshell watch --raw /apis/example.com/v1/namespaces/dev/widgets -o json`,
		Annotations: map[string]string{commonFlags: `
Flags:
  -l, --selector LABELS    only objects with these labels, such as app=web
  -A, --all-namespaces     in all namespaces
  -o, --output FORMAT      wide, json or name
      --limit N            how many of the newest objects to show
      --until STATE        exit when all are ready, or when all are deleted
      --once               exit after the list
      --raw PATH           the API path of a list, instead of TYPE
` + connectionGroup},
		DisableFlagsInUseLine: true,
		RunE:                  run,
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.selector, "selector", "l", "", "only objects with these labels, as in kubectl get")
	flags.StringVar(&f.fieldSelector, "field-selector", "", "only objects with these fields, as in kubectl get")
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "in all namespaces")
	flags.StringVarP(&f.output, outputFlag, "o", "", "output format: wide, json or name")
	flags.IntVar(&f.limit, "limit", 0, "how many of the newest objects to show; 0 means all (default for events: 50)")
	flags.StringVar(&f.until, "until", "",
		"ready: exit with 0 when all objects are ready; deleted: when none is left")
	flags.BoolVar(&f.once, "once", false, "exit after the list")
	flags.StringVar(&f.raw, "raw", "", "the API path of a list, instead of TYPE")
	for flag, values := range map[string][]string{outputFlag: listFormats, "until": untilValues} {
		fixed := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
		_ = cmd.RegisterFlagCompletionFunc(flag, fixed) // the flag exists: no error
	}
	noFiles(cmd, flags)
	return cmd
}

// watchPlan is a parsed command line of watch.
type watchPlan struct {
	kind          kinds.Kind
	name          string // "": all objects
	allNamespaces bool
	raw           bool            // the type is that of --raw
	labels        labels.Selector // nil: all
	fields        string          // a field selector, or ""
	format        string          // "" or one of listFormats
	limit         int             // 0: all
	until         string          // "" or one of untilValues
	once          bool
}

// planWatch returns the plan of a command line.
func planWatch(cmd *cobra.Command, f watchFlags, args []string) (*watchPlan, error) {
	p := &watchPlan{
		allNamespaces: f.allNamespaces, raw: f.raw != "", fields: f.fieldSelector, format: f.output, limit: f.limit,
		until: f.until, once: f.once,
	}
	var err error
	if p.kind, p.name, err = f.target(cmd, args); err != nil {
		return nil, err
	}
	if f.selector != "" {
		if p.labels, err = labels.Parse(f.selector); err != nil {
			return nil, usage(cmd, fmt.Sprintf("-l %s is not a label selector: %s", strconv.Quote(f.selector), err))
		}
	}
	if _, err := fields.ParseSelector(f.fieldSelector); err != nil {
		return nil, usage(cmd,
			fmt.Sprintf("--field-selector %s is not a field selector: %s", strconv.Quote(f.fieldSelector), err))
	}
	if err := checkListFormat(f.output); err != nil {
		return nil, err
	}
	if p.kind.Resource == "events" && f.until == "" && !changed(cmd, "limit") {
		p.limit = eventLimit
	}
	return p, p.check(cmd)
}

// target returns the type and the name that a command line gives.
func (f *watchFlags) target(cmd *cobra.Command, args []string) (k kinds.Kind, name string, err error) {
	if changed(cmd, "raw") {
		k, ok := kinds.Raw(f.raw)
		if !ok {
			return k, "", outcome.NewUsageError(fmt.Sprintf("--raw %s is not the path of a list", strconv.Quote(f.raw)),
				"write it as /api/v1/namespaces/NAMESPACE/PLURAL or /apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL")
		}
		if len(args) > 1 {
			return k, "", noArgs(cmd, args[1:])
		}
		return k, strings.Join(args, ""), nil
	}
	if len(args) == 0 {
		return k, "", usage(cmd, "no type of objects is specified")
	}
	typed, name, slash := strings.Cut(args[0], "/")
	k, ok := kinds.Find(typed)
	switch rest := args[1:]; {
	case !ok:
		return k, "", didYouMean(typed, kinds.Suggestions(), "", outcome.NewUsageError(
			fmt.Sprintf("type %s is not supported", strconv.Quote(typed)),
			"the types are "+strings.Join(kinds.Names(), ", ")+"; for others, type --raw PATH"))
	case slash && name == "":
		return k, "", usage(cmd, fmt.Sprintf("%s lacks the name of a %s", strconv.Quote(args[0]), k.Name))
	case slash && len(rest) > 0:
		return k, "", noArgs(cmd, rest)
	case len(rest) > 1:
		return k, "", usage(cmd, "more than one name is given: watch shows one object, or all of a type")
	case len(rest) == 1:
		name = rest[0]
	}
	return k, name, nil
}

// check returns a usage error for flags that cannot be used together.
func (p *watchPlan) check(cmd *cobra.Command) error {
	switch {
	case p.until != "" && !slices.Contains(untilValues, p.until):
		return outcome.NewUsageError("unknown --until "+strconv.Quote(p.until), "one of "+strings.Join(untilValues, ", "))
	case p.until == untilReady && !p.kind.HasReady():
		return usage(cmd, fmt.Sprintf("--until=ready cannot be used with %s, which are never ready", p.kind.Resource))
	case p.until != "" && p.once:
		return usage(cmd, "--until and --once cannot be used together")
	case p.until != "" && p.limit != 0:
		return usage(cmd, "--until and --limit cannot be used together")
	case p.limit < 0:
		return usage(cmd, fmt.Sprintf("--limit %d: must not be negative", p.limit))
	case p.name != "" && p.labels != nil:
		return usage(cmd, "a name and -l cannot be used together")
	case p.name != "" && p.allNamespaces && p.kind.Namespaced:
		return usage(cmd, "a name and -A cannot be used together")
	case p.raw && p.allNamespaces:
		return usage(cmd, "--raw and -A cannot be used together: the path names the namespace, or no namespace for all")
	}
	return nil
}

// hasNamespaces reports whether the objects can be in several namespaces.
func (p *watchPlan) hasNamespaces() bool { return p.kind.Namespaced && (p.allNamespaces || p.raw) }

// path returns the path of the list. namespace is that of the connection.
func (p *watchPlan) path(namespace string) string {
	if p.allNamespaces {
		namespace = ""
	}
	return p.kind.Path(namespace)
}

// query returns the selectors of the list.
func (p *watchPlan) query() url.Values {
	query := url.Values{}
	if p.labels != nil {
		query.Set("labelSelector", p.labels.String())
	}
	if p.fields != "" {
		query.Set("fieldSelector", p.fields)
	}
	return query
}
